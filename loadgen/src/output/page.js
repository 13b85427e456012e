// The report of a run or of a search: text and tables from the JSON in the page, and charts.
// All text goes in as text nodes, so nothing in the data can become markup.
"use strict";
(() => {
  const { summary, curves, search, meanings } = JSON.parse(document.getElementById("data").textContent);
  const { count, rate, micros, share, seconds, bytes, number } = charts.units;
  const page = document.getElementById("page");

  const el = (name, className, ...children) => {
    const element = Object.assign(document.createElement(name), { className });
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const add = (...children) => page.append(...children);
  const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
  const none = "–";
  // The histograms end at 68.7 s, and what took longer counts as this long.
  const taken = (us) => (us >= 68719476.735 ? "≥ " : "") + micros(us);
  const or = (value, print) => value === null || value === undefined ? none : print(value);

  // A table. Columns whose name starts with ">" hold numbers; the first column names the row.
  function table(columns, rows, className = "") {
    const numbers = columns.map((name) => name.startsWith(">"));
    const cell = (tag, value, at) => value instanceof Node ? value
      : el(tag, numbers[at] ? "n" : at === 0 && className ? "key" : "", value);
    const head = el("tr", "", ...columns.map((name, at) => cell("th", name.replace(">", ""), at)));
    const body = rows.map((row) => el("tr", "", ...row.map((value, at) => cell(at === 0 ? "th" : "td", value, at))));
    const parts = columns.some((name) => name.replace(">", "")) ? [el("thead", "", head)] : [];
    return el("div", "scroll", el("table", className, ...parts, el("tbody", "", ...body)));
  }

  const details = (name, ...children) => el("details", "", el("summary", "", name), ...children);
  const verdict = (isGood, title, sentence, reasons = []) => add(el("div", `verdict ${isGood ? "good" : "bad"}`,
    el("b", "", `${isGood ? "✓" : "✗"} ${title}`), ` ${sentence}`,
    reasons.length ? el("ul", "", ...reasons.map((reason) => el("li", "", reason))) : null));

  // A value in the unit at the end of its key.
  function print(key, value) {
    if (value === null) return "unknown";
    if (Array.isArray(value)) return value.length ? value.map((one) => print(key, one)).join("; ") : "none";
    if (typeof value === "object") return Object.entries(value).map(([name, one]) => `${label(name)} ${print(name, one)}`).join(", ");
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number" || key === "seed") return String(value);
    if (key.includes("per_s") || key.includes("per_cpu_s")) return rate(value);
    const units = { us: micros, ms: (ms) => micros(ms * 1e3), s: seconds, bytes, ratio: share };
    return (units[key.split("_").pop()] ?? number)(value);
  }
  const label = (key) => key.replace(/_(per_s|per_cpu_s|us|ms|s|bytes|ratio)$/, "").replaceAll("_", " ");
  const explained = (part, values) => table(["", ">", ""], Object.entries(values)
    .map(([key, value]) => [key, key.endsWith("bytes") && part === "counts" ? count(value) : print(key, value), meanings[part]?.[key] ?? ""]), "wide");
  const pairs = (values) => table(["", ""], Object.entries(values).map(([key, value]) => [label(key), print(key, value)]), "pairs");
  const targets = (config) => [config.target, ...(config.other_targets ?? [])];
  const told = (config) => `${config.scenario}, ${config.protocol}, ${config.arrival} arrivals, ${plural(config.clients, "client")}, server${targets(config).length > 1 ? "s" : ""} ${targets(config).join(", ")}`;
  const offered = ({ rate_from_per_s: from, rate_to_per_s: to }) => from === to ? rate(from) : `${rate(from)} to ${rate(to)}`;

  function setting({ config, environment, command }) {
    add(details("Settings", pairs(config)), details("Machine", pairs(environment)),
      el("h2", "", "Repeat it"), el("pre", "", command));
  }

  const percentileColumns = [["p50", "p50_us"], ["p90", "p90_us"], ["p99", "p99_us"], ["p99.9", "p99_9_us"], ["p99.99", "p99_99_us"], ["max", "max_us"]];

  function run() {
    const { config, counts, rates, latencies, slos, recorded_s: recorded } = summary;
    document.title = `bullhorn: ${offered(config)}, ${config.scenario}`;
    add(el("h1", "", `Load test: ${offered(config)} for ${seconds(recorded)}`), el("p", "lead", `${told(config)}. ${summary.began_at}`));
    const { is_valid: isValid, invalid } = summary.verdict;
    verdict(isValid, isValid ? "Valid" : summary.server_silent_from_s === null ? "Invalid" : "Failed", isValid
      ? "The figures are the server's: the generator kept up." : "The figures are no measure of the server.", invalid);
    const cut = `It recorded ${seconds(recorded)} of ${seconds(config.duration_s)}.`;
    if (summary.server_said_goodbye) verdict(false, "Stopped early", `The server said goodbye. ${cut}`);
    const signal = new Map([[2, "Ctrl-C"], [15, "SIGTERM"]]).get(summary.signal) ?? `Signal ${summary.signal}`;
    if (summary.signal !== null) verdict(false, "Stopped early", `${signal} ended the run. ${cut}`);
    if (slos.length) {
      const missed = slos.filter((slo) => !slo.is_met).length;
      verdict(!missed, missed ? `${missed} of ${plural(slos.length, "objective")} missed` : "Objectives met", "",
        slos.map((slo) => `${slo.is_met ? "✓" : "✗"} ${slo.clause}: ${slo.sentence}`));
    }

    add(el("h2", "", "Figures"));
    const row = (name, expected, came, perSecond, missing) => [name, rate(perSecond), or(missing, share),
      count(Math.max(expected - came, 0)), count(expected), count(came)];
    const flows = [["datagrams sent", counts.due, counts.sent, rates.sent_per_s, counts.due ? Math.max(counts.due - counts.sent, 0) / counts.due : null]];
    if (counts.expected) flows.push(["texts delivered", counts.expected, counts.delivered, rates.deliveries_per_s, rates.loss_ratio]);
    if (counts.asked) flows.push(["requests answered", counts.asked, counts.answered, rates.answers_per_s, rates.unanswered_ratio]);
    add(table(["", ">per second", ">loss", ">missing", ">expected", ">actual"], flows.map((flow) => row(...flow))));
    const rows = meanings.latencies.filter(([name]) => latencies[name])
      .map(([name, meaning]) => [el("th", "", name, el("small", "", meaning)), ...percentileColumns.map(([, key]) => taken(latencies[name][key])), or(latencies[name].left_out_ratio, share)]);
    if (rows.length) add(table(["latency", ...percentileColumns.map(([name]) => `>${name}`), ">left out"], rows),
      el("p", "hint", "Percentiles leave out what was lost, unanswered or too late: the share at the end of the row."));

    add(el("h2", "", "Charts"), el("p", "hint", "Drag across a chart to zoom in, double-click to zoom out. Click a name to hide its curve."));
    runCharts();

    add(el("h2", "", "Details"));
    add(details("Counts", explained("counts", counts)), details("Generator", explained("generator", { ...summary.generator })));
    if (summary.server) add(details("Server process", explained("server", summary.server)));
    setting(summary);
    add(el("footer", "", "All figures are in summary.json next to this page, and the histograms of every second in latency.hlog."));
  }

  function runCharts() {
    const place = el("div", "charts");
    add(place);
    const { recorded_s: recorded, seconds: perSecond, intervals } = summary;
    const kinds = [["Delivery", "delivery", "from when a text was due until a member of its room received it"],
      ["Answer", "answer", "from when a request was due until its answer arrived"]];
    for (const [title, name, what] of kinds) {
      const all = [["from due", name, "--blue"], ["from send", `${name}-from-send`, "--orange"], ["closed loop", `${name}-closed-loop`, "--violet", [7, 5]],
        ["same node", `${name}-same-node`, "--green"], ["other nodes", `${name}-other-node`, "--red"]]
        .filter(([, key]) => curves[key]);
      const quantiles = [...new Set(all.flatMap(([, key]) => curves[key].map(([quantile]) => quantile)))].sort((a, b) => a - b);
      charts.draw(place, {
        title: `${title} latency by percentile`,
        note: `Time ${what}. Each step to the right is ten times rarer.${curves[`${name}-closed-loop`] ? " Closed loop is what a generator that waits for each answer would report." : ""}`,
        x: { kind: "percentile", label: "percentile, %", short: "percentile", values: quantiles.map(charts.logOdds) },
        y: { kind: "micros", label: "latency", log: true },
        series: all.map(([label, key, color, dash]) => {
          const values = new Map(curves[key]);
          return { label, color, dash, values: quantiles.map((quantile) => values.get(quantile) ?? null) };
        }),
      });
      const own = intervals.filter((interval) => interval.latency === name);
      const [times, points] = [[], []];
      own.forEach((interval, at) => {
        const before = own[at - 1];
        if (before && interval.start_s - before.start_s > 1.5 * before.length_s) {
          times.push((before.start_s + before.length_s + interval.start_s) / 2);
          points.push(null);
        }
        times.push(interval.start_s + interval.length_s / 2);
        points.push(interval);
      });
      charts.draw(place, {
        title: `${title} latency over time`, note: `For what arrived in each second: half took at most the median, 99 % at most p99.`,
        x: { kind: "seconds", label: "seconds since the recording began", short: "time", values: times },
        y: { kind: "micros", label: "latency", log: true },
        series: [["median", "p50_us", "--sky"], ["p99", "p99_us", "--blue"], ["max", "max_us", "--navy"]]
          .map(([label, key, color]) => ({ label, color, values: points.map((interval) => interval && interval[key]) })),
      });
    }

    // The last second may be cut short. A small rest of a second has no rate worth drawing.
    const bins = perSecond.map((second, at) => ({ second, at, length: Math.min(recorded - at, 1) }))
      .filter(({ length }, _, bins) => length >= .5 || (bins.length === 1 && length > 0));
    const x = { kind: "seconds", label: "seconds since the recording began", short: "time", values: bins.map(({ at, length }) => at + length / 2) };
    for (const [title, note, label, wanted, came] of [
      ["Datagrams offered", "What was due, and what the generator sent. Where they differ, the generator was the bottleneck.", "datagrams per second", "due", "sent"],
      ["Deliveries", "Copies of texts that members of rooms should receive, by when the text was due, and those that arrived.", "copies per second", "expected", "delivered"],
      ["Answers", "Requests sent, by when they were due, and those that were answered.", "requests per second", "asked", "answered"],
    ]) {
      if (bins.every(({ second }) => second[wanted] === 0)) continue;
      const values = (key) => bins.map(({ second, length }) => second[key] / length);
      charts.draw(place, {
        title, note, x, y: { kind: "rate", label },
        series: [{ label: wanted, color: "--gray", width: 6, values: values(wanted) }, { label: came, color: "--green", values: values(came) }],
      });
    }
    const lost = (whole, part) => bins.map(({ second }) => second[whole] ? Math.max(second[whole] - second[part], 0) / second[whole] : null);
    charts.draw(place, {
      title: "Losses", note: "Of what was due in each second, the share that never arrived.",
      x, y: { kind: "share", label: "share lost" },
      series: [{ label: "deliveries lost", color: "--red", values: lost("expected", "delivered") },
        { label: "requests unanswered", color: "--amber", values: lost("asked", "answered") }],
    });
  }

  function find() {
    const { config, found, tries, slo } = search;
    document.title = found.rate_per_s === null ? "bullhorn: no rate is good" : `bullhorn: good up to ${rate(found.rate_per_s)}`;
    add(el("h1", "", found.rate_per_s === null ? "Search: no rate is good" : `Search: good up to ${rate(found.rate_per_s)}`),
      el("p", "lead", `${told(config)}, ${seconds(config.duration_s)} per try. Objectives: ${slo}. ${search.began_at}`));
    const atLimit = tries.filter((one) => one.rate_per_s === found.bad_rate_per_s);
    // Reasons that differ only in their figures are one kind.
    const kindsOf = (reasons) => [...new Map(reasons.map((reason) => [reason.replace(/[\d.,]+/g, ""), reason])).values()];
    verdict(found.rate_per_s !== null && !found.is_generators_limit, found.is_generators_limit ? "The generator fell short" : found.rate_per_s === null ? "None found" : "Found",
      found.sentence, found.is_generators_limit ? kindsOf(atLimit.flatMap((one) => one.invalid)) : []);

    const kinds = [["Delivery", "delivery", "deliveries", "from when a text was due until a member of its room received it"],
      ["Answer", "answer", "answers", "from when a request was due until its answer arrived"]].filter(([, key]) => tries.some((one) => one[key]));
    const columns = [["p50", "p50_us"], ["p99", "p99_us"], ["p99.9", "p99_9_us"]];
    const best = tries.findLast((one) => one.is_good && one.rate_per_s === found.rate_per_s);
    if (best) {
      add(el("h2", "", "Figures at the highest good rate"), table(["", ">per second", ...columns.map(([name]) => `>${name}`), ">max"], [
        ["datagrams sent", rate(best.sent_per_s), ...columns.map(() => ""), ""],
        ...kinds.map(([, key, many]) => [many, rate(best[`${many}_per_s`]), ...columns.map(([, column]) => or(best[key]?.[column], taken)), or(best[key]?.max_us, taken)]),
      ]), el("p", "", `${share(best.missing_ratio)} of what was expected did not arrive. ${plural(tries.length, "try").replace(/trys$/, "tries")} took ${seconds(search.took_s)}.`));
    }

    add(el("h2", "", "Charts"), el("p", "hint", "Each point is a try: ○ good, × bad. The curve goes through the middle try of each rate. Drag to zoom in, double-click to zoom out."));
    const place = el("div", "charts");
    add(place);
    const offered = [...new Set(tries.map((one) => one.rate_per_s))].sort((a, b) => a - b);
    const x = { kind: "rate", label: "datagrams offered per second", short: "offered", values: offered };
    const rules = found.rate_per_s === null ? [] : [{ at: found.rate_per_s, label: `highest good rate ${rate(found.rate_per_s)}`, color: "--violet" }];
    // Through the middle one of the values at each rate, or the higher one of two.
    const middle = (value) => offered.map((at) => {
      const values = tries.filter((one) => one.rate_per_s === at).map(value).filter((one) => one !== null).sort((a, b) => a - b);
      return values[Math.floor(values.length / 2)] ?? null;
    });
    const chart = (title, note, y, curves) => charts.draw(place, {
      title, note, x, y, rules,
      series: curves.map(([label, color, value, isPlain]) => ({ label, color, values: middle(value), width: isPlain ? 6 : 2 })),
      marks: curves.filter(([, , , isPlain]) => !isPlain).flatMap(([, color, value]) => tries.filter((one) => value(one) !== null)
        .map((one) => ({ x: one.rate_per_s, y: value(one), good: one.is_good, color }))),
    });
    for (const [title, key, , what] of kinds) {
      chart(`${title} latency over load`, `Time ${what}. Half took at most p50, and one of a thousand more than p99.9.`, { kind: "micros", label: "latency", log: true },
        columns.map(([name, column], at) => [name, ["--sky", "--blue", "--navy"][at], (one) => one[key]?.[column] ?? null]));
    }
    chart("Loss over load", "Of the copies and answers that were expected, the share that never arrived.", { kind: "share", label: "share lost" },
      [["loss", "--red", (one) => one.missing_ratio]]);
    chart("Datagrams sent over load", "What the generator sent of what was due. Where they differ, the generator was the bottleneck.",
      { kind: "rate", label: "datagrams per second" }, [["due", "--gray", (one) => one.rate_per_s, true], ["sent", "--green", (one) => one.sent_per_s]]);
    // The part of a reason before its colon says what happened. The rest is advice.
    const reasons = (one) => [...one.missed.map((slo) => `${slo.clause}: ${slo.sentence}`), ...one.faults, ...one.invalid.map((reason) => reason.split(":")[0])]
      .map((reason) => el("div", "", `✗ ${reason}`));
    add(el("h2", "", "Tries"));
    add(table([">offered/s", ">sent/s", ...kinds.flatMap(([, , many]) => [`>${many}/s`, ...columns.map(([name]) => `>${name}`)]), ">loss", "result"],
      tries.map((one) => [number(one.rate_per_s), number(one.sent_per_s),
        ...kinds.flatMap(([, key, many]) => [number(one[`${many}_per_s`]), ...columns.map(([, column]) => or(one[key]?.[column], taken))]),
        share(one.missing_ratio),
        one.is_good ? el("td", "good", "✓ good") : el("td", "bad reasons", ...reasons(one))])));

    add(el("h2", "", "Details"), details("Range of the search", pairs(search.search)));
    setting(search);
    add(el("footer", "", "All figures are in find-max.json next to this page."));
  }

  if (search) find(); else run();
})();
