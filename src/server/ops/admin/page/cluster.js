// The cluster: its bus, its nodes, and what goes between them. Without one it is hidden.
"use strict";
const cluster = (() => {
  const { count, rate, micros, share, bytes, seconds } = charts.units;
  const section = document.getElementById("cluster");
  const plural = (value, noun, nouns = `${noun}s`) => `${count(value)} ${value === 1 ? noun : nouns}`;
  const sent = (texts, batches, size) => `${count(texts)} in ${plural(batches, "batch", "batches")}, ${bytes(size)}`;

  const show = tables.cards(document.getElementById("cluster-numbers"), [
    ["Nodes", ({ nodes }) => [count(nodes.length + 1), `this one and ${plural(nodes.length, "other")}`]],
    ["Bus", ({ is_connected: isConnected, totals }) => [isConnected ? "connected" : "cut off",
      `${plural(totals.disconnects, "disconnect")} since the start`, !isConnected]],
    ["Texts out", ({ totals }, rates) => [rate(rates.texts_published_per_s),
      sent(totals.texts_published, totals.batches_published, totals.bytes_published)]],
    ["Texts in", ({ totals }, rates) => [rate(rates.texts_received_per_s),
      sent(totals.texts_received, totals.batches_received, totals.bytes_received)]],
    ["Dropped", ({ totals }, rates) => [rate(rates.texts_dropped_per_s), reasons(totals), rates.texts_dropped_per_s > 0]],
    ["Missing", ({ totals }, rates) => [rate(rates.texts_missing_per_s),
      `${count(totals.texts_missing)} in all, ${count(totals.texts_stale)} stale`, rates.texts_missing_per_s > 0]],
  ]);

  function reasons(totals) {
    const drops = DROPS.map(([name, key]) => [name, totals[key]]).filter(([, all]) => all > 0);
    return drops.map(([name, all]) => `${count(all)} ${name}`).join(", ") || "0 in all";
  }

  function rowOf(node) {
    return [
      node.is_current ? node.name : `${node.name} (members not known yet)`,
      count(node.peers), count(node.rooms), share(node.busy),
      node.round_trip_us === null ? "–" : micros(node.round_trip_us),
      `${seconds(node.silent_ms / 1e3)} ago`, node.version,
    ];
  }

  // Shows the state of a second. `version` is that of this node.
  function update({ cluster: state, point }, version) {
    section.hidden = state === null;
    if (state === null) return;
    tables.setText(document.getElementById("cluster-title"), `Cluster ${state.name}`);
    show(state, point.cluster ?? NO_RATES);
    const own = [`${state.node} (this one)`, count(point.peers), count(point.rooms), share(Math.max(0, ...point.busy)), "–", "–", version];
    tables.rows(section.querySelector("table"), [own, ...state.nodes.map(rowOf)]);
  }

  const DROPS = [["full", "dropped_full"], ["late", "dropped_late"], ["bus away", "dropped_away"], ["no space", "dropped_no_space"]];
  const NO_RATES = { texts_published_per_s: 0, texts_received_per_s: 0, texts_dropped_per_s: 0, texts_missing_per_s: 0 };

  return { update };
})();
