// The curves of the last 15 minutes.
"use strict";
const curves = (() => {
  let names = [];
  // From old to new: a time in seconds, and the point that ends there, or null for a gap.
  let points = [];
  // An upright line for each restart of the server.
  const rules = [];
  const palette = ["--blue", "--orange", "--violet", "--green", "--amber", "--red", "--sky", "--gray"];
  const paint = (index) => palette[index % palette.length];

  const definitions = [
    { title: "Deliveries", note: "Messages, each to one peer.", kind: "rate",
      series: () => [["sent", "--green", (point) => point.deliveries_per_s], ["lost", "--red", (point) => point.deliveries_lost_per_s]] },
    { title: "Datagrams in", note: "Received from peers and strangers.", kind: "rate",
      series: () => [["datagrams", "--blue", (point) => point.datagrams_per_s]] },
    { title: "Busy workers", note: "Share of time not asleep.", kind: "share", max: 1, series: busy },
    { title: "Delivery time", note: "From receipt until sent to the room.", kind: "micros", log: true,
      series: () => [["p50", "--sky", (point) => point.plan_p50_us], ["p99", "--blue", (point) => point.plan_p99_us]] },
    { title: "Dropped and shed", note: "Datagrams by reason, and texts shed.", kind: "rate", series: drops },
    { title: "Backlog", note: "Time to send the texts that wait in a worker.", kind: "micros", least: 1e3,
      series: () => [["backlog", "--amber", (point) => point.backlog_ms * 1e3]] },
    { title: "Peers", note: "Registered at this moment.", kind: "count",
      series: () => [["peers", "--violet", (point) => point.peers]] },
    { title: "Rooms", note: "With the lobby.", kind: "count",
      series: () => [["rooms", "--orange", (point) => point.rooms]] },
    { title: "Texts between nodes", note: "To and from the other nodes.", kind: "rate", parent: "cluster-curves",
      series: () => [["out", "--green", (point) => point.cluster?.texts_published_per_s ?? null], ["in", "--blue", (point) => point.cluster?.texts_received_per_s ?? null]] },
    { title: "Texts lost between nodes", note: "Dropped here, or missing from others.", kind: "rate", parent: "cluster-curves",
      series: () => [["dropped", "--red", (point) => point.cluster?.texts_dropped_per_s ?? null], ["missing", "--amber", (point) => point.cluster?.texts_missing_per_s ?? null]] },
  ];

  // A curve per worker. Many workers have their extremes and their median instead.
  function busy() {
    if (names.length <= palette.length) return names.map((name, at) => [name, paint(at), (point) => point.busy[at] ?? null]);
    const at = (share) => (point) => {
      const sorted = point.busy.toSorted((a, b) => a - b);
      return sorted[Math.round(share * (sorted.length - 1))] ?? null;
    };
    return [["busiest", "--red", at(1)], ["median", "--blue", at(.5)], ["idlest", "--sky", at(0)]];
  }

  // Texts shed by the backlog, and datagrams that the kernel dropped, are always there. The curves
  // of other reasons come and go with them.
  function drops() {
    const reasons = new Set(points.flatMap(([, point]) => Object.keys(point?.drops_per_s ?? {})));
    reasons.delete("kernel");
    return [
      ["shed", "--amber", (point) => point.messages_shed_per_s],
      ["kernel", "--red", (point) => point.drops_per_s.kernel ?? 0],
      ...[...reasons].sort().map((reason, at) => [reason, paint(at), (point) => point.drops_per_s[reason] ?? 0]),
    ];
  }

  const timeOf = (point) => point.time_ms / 1e3;
  const newest = () => points.at(-1)?.[0] ?? Date.now() / 1e3;
  const range = () => [Math.min(Math.max(newest() - WINDOW_S, points[0]?.[0] ?? 0), newest() - MIN_WINDOW_S), newest()];

  function push(point) {
    const at = timeOf(point);
    if (at <= newest() && points.length) return;
    if (at - newest() > GAP_S) points.push([newest() + 1, null]);
    points.push([at, point]);
  }

  // Takes the points that the server has kept, from before and after those of this page. After a
  // restart it has none of before.
  function begin({ workers, points: kept, started_ms: startedMs }, isRestart) {
    names = workers;
    if (isRestart) {
      points.push([newest() + .001, null]);
      rules.push({ at: startedMs / 1e3, label: "restart", color: "--soft" });
    }
    const oldest = points[0]?.[0] ?? Infinity;
    const later = kept.filter((point) => timeOf(point) > newest());
    points.unshift(...(points.length ? kept.filter((point) => timeOf(point) < oldest) : kept).map((point) => [timeOf(point), point]));
    later.forEach(push);
  }

  function add(point) {
    push(point);
    const oldest = newest() - WINDOW_S;
    points = points.filter(([at]) => at >= oldest);
    while (rules.length && rules[0].at < oldest) rules.shift();
    // Those of the cluster are not there without one.
    definitions.filter(({ parent }) => !parent || point.cluster).forEach(update);
  }

  // Draws a chart, anew if it has other curves than before.
  function update(definition) {
    const series = definition.series().map(([label, color, value]) => ({
      label, color, values: points.map(([, point]) => point && value(point)),
    }));
    const times = points.map(([at]) => at);
    const labels = series.map(({ label }) => label).join();
    if (definition.labels !== labels) {
      const { drawn } = definition;
      definition.labels = labels;
      definition.drawn = charts.draw(document.getElementById(definition.parent ?? "curves"), {
        ...definition, series, rules, live: true, height: 160,
        x: { kind: "clock", short: "time", values: times, range },
        y: { kind: definition.kind, log: definition.log, max: definition.max, least: definition.least },
      });
      drawn?.figure.replaceWith(definition.drawn.figure);
      drawn?.remove();
    }
    definition.drawn.update([times, ...series.map(({ values }) => values)]);
  }

  // The server keeps as long a time.
  const WINDOW_S = 900;
  // Without a past, a curve begins with this part of the width.
  const MIN_WINDOW_S = 60;
  // The server's points of the past are 5 s apart.
  const GAP_S = 12;

  return { begin, add };
})();
