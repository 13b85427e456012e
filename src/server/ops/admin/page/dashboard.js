// The dashboard: follows the server's events, and shows them. All text goes in as text nodes, so
// nothing that strangers have named can become markup.
"use strict";
(() => {
  const { count, rate, micros, share } = charts.units;
  const byId = (id) => document.getElementById(id);
  const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
  const clock = (timeMs) => new Date(timeMs).toLocaleTimeString("en-GB");
  const { setText } = tables;

  // About the server that was connected last: what does not change while it runs.
  let about = null;
  let restart = "";

  function span(ms) {
    const minutes = Math.floor(ms / 60e3), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
    if (days) return `${plural(days, "day")} ${hours % 24} h`;
    if (hours) return `${hours} h ${minutes % 60} min`;
    return minutes ? `${minutes} min` : `${Math.max(0, Math.floor(ms / 1e3))} s`;
  }

  // The value of each number, and a line with more of it.
  const showNumbers = tables.cards(byId("numbers"), [
    ["Deliveries", ({ point, deliveries }) => [rate(point.deliveries_per_s), `${count(deliveries)} in all`]],
    ["Datagrams in", ({ point, datagrams_in: all }) => [rate(point.datagrams_per_s), `${count(all)} in all`]],
    ["Peers", ({ point, peers_v1: v1, peers_v2: v2 }) => [count(point.peers), `${count(v1)} v1, ${count(v2)} v2`]],
    ["Rooms", ({ point }) => [count(point.rooms), "with the lobby"]],
    ["Delivery p99", ({ point }) => [point.plan_p99_us === null ? "–" : micros(point.plan_p99_us),
      point.plan_p50_us === null ? "nothing sent" : `p50 ${micros(point.plan_p50_us)}`]],
    ["Busiest worker", ({ point: { busy } }) => [share(Math.max(0, ...busy)),
      `mean ${share(busy.reduce((sum, one) => sum + one, 0) / Math.max(1, busy.length))}`]],
    ["Dropped and shed", ({ point, dropped, messages_shed: shed }) => [
      rate(Object.values(point.drops_per_s).reduce((sum, one) => sum + one, point.messages_shed_per_s)), `${count(dropped + shed)} in all`]],
    ["Uptime", ({ point }) => [span(point.time_ms - about.started_ms), `since ${clock(about.started_ms)}`]],
  ]);

  // Screen readers say this line when it changes.
  function setHealth(sentence, className) {
    setText(byId("health"), sentence);
    byId("health").className = className;
    document.body.classList.toggle("lost", className === "bad" && !isConnected);
  }

  let isConnected = false;
  function setConnected(value) {
    isConnected = value;
    tables.setUp(value);
    if (value) [rooms, peers].forEach((table) => table.refresh());
  }

  function begin(event) {
    const isRestart = about !== null && about.started_ms !== event.started_ms;
    if (isRestart) restart = ` The server was restarted at ${clock(event.started_ms)}.`;
    curves.begin(event, isRestart);
    about = event;
    setText(byId("about"), `${event.version} at ${event.addresses.join(", ")}`);
    document.title = `bullhorn at ${event.addresses[0]}`;
    setConnected(true);
    showNow(event.now);
  }

  function showNow(now) {
    showNumbers(now);
    cluster.update(now, about.version);
    curves.add(now.point);
    const { stuck, is_draining: isDraining } = now;
    const workers = about.workers.length;
    if (stuck.length) setHealth(`${plural(stuck.length, "worker")} of ${workers} stuck: ${stuck.join(", ")}.${restart}`, "bad");
    else if (isDraining) setHealth(`Draining: new peers are refused, and the server stops soon.${restart}`, "bad");
    else if (now.cluster?.is_connected === false) setHealth(`Cut off from the cluster: texts reach the peers of this server only.${restart}`, "bad");
    else setHealth(`Running. ${workers} of ${plural(workers, "worker")} respond${workers === 1 ? "s" : ""}.${restart}`, "good");
  }

  // Follows the events without end.
  async function follow() {
    const handlers = { history: begin, now: showNow };
    for (let complaint = "";;) {
      let reason = "";
      try {
        for await (const [name, data] of api.events("/api/v1/events")) handlers[name]?.(data);
      } catch (error) {
        if (error.status === 401) {
          // A token that was right may be wrong after a restart. Then this may go without one.
          if (api.token.get()) complaint = dialogs.forgetToken();
          else if (!await dialogs.giveToken(complaint)) return setHealth("Not without the token. Reload this page to enter it.", "bad");
          continue;
        }
        if (error.status) reason = ` The server answers: ${error.message}.`;
      }
      if (isConnected || reason) {
        setConnected(false);
        setHealth(`No connection to the server since ${clock(Date.now())}.${reason} Trying again…`, "bad");
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  const stateOf = (peer) => [`v${peer.version}`, peer.is_trusted && "trusted", peer.is_muted && "muted"].filter(Boolean).join(", ");
  const rooms = tables.listing(byId("rooms"), {
    path: "rooms", key: (room) => room.name,
    cells: (room) => [room.name, ...[room.members, room.v1, room.v2].map(count)],
    buttons: [["Peers", (room) => peers.search(room.name)], ["Say…", (room) => dialogs.say(room.name)]],
  });
  const peers = tables.listing(byId("peers"), {
    path: "peers", key: (peer) => peer.address,
    cells: (peer) => [peer.address, peer.name ?? "–", peer.room, stateOf(peer), `${count(peer.silent_s)} s`],
    buttons: [["Manage…", (peer) => dialogs.manage(peer, stateOf(peer))]],
  });
  byId("say").addEventListener("click", () => dialogs.say(null));
  byId("drain").addEventListener("click", dialogs.drain);

  const RETRY_MS = 1000;

  follow();
})();
