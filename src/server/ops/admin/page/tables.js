// Tables with search and pages, which read the server every few seconds while they are seen.
"use strict";
const tables = (() => {
  let isUp = false;

  // Fills the table of `section`: `path` is that of the API and the name of its list, `key` returns
  // the name of a row, `cells` its texts, and `buttons` are labels and functions of a row.
  function listing(section, { path, key, cells, buttons }) {
    const find = (selector) => section.querySelector(selector);
    const [search, body, output, previous, next] = ["input", "tbody", "output", ".previous", ".next"].map(find);
    const classes = [...section.querySelectorAll("thead th")].map((head) => head.className);
    let first = 0, total = 0, isSeen = false, newest = 0, timer;
    // Rows stay the same elements as long as they are shown, so that the focus stays, too.
    let shown = new Map();

    function makeRow() {
      const tr = dialogs.el("tr", {});
      tr.append(...classes.slice(0, -1).map((className, at) => at === 0
        ? dialogs.el("th", { className, scope: "row" }) : dialogs.el("td", { className })));
      tr.append(dialogs.el("td", { className: "act" }, ...buttons.map(([label, act]) =>
        dialogs.el("button", { type: "button", textContent: label, onclick: async () => { if (await act(tr.row)) load(); } }))));
      return tr;
    }

    function show(rows) {
      const before = shown;
      shown = new Map(rows.map((row) => [key(row), before.get(key(row)) ?? makeRow()]));
      for (const [name, tr] of before) if (!shown.has(name)) tr.remove();
      rows.forEach((row, at) => {
        const tr = shown.get(key(row));
        tr.row = row;
        cells(row).forEach((text, at) => setText(tr.cells[at], text));
        tr.querySelectorAll("button").forEach((button, at) => button.setAttribute("aria-label", `${buttons[at][0]} ${key(row)}`));
        if (body.rows[at] !== tr) body.insertBefore(tr, body.rows[at] ?? null);
      });
    }

    async function load() {
      const own = ++newest;
      try {
        const query = new URLSearchParams({ part: search.value.trim(), first, max: MAX_ROWS });
        const answer = await api.read(`/api/v1/${path}?${query}`);
        if (own !== newest) return;
        total = answer.total;
        // The last page may have gone in the meantime.
        if (first > 0 && first >= total) return turn(-1);
        show(answer[path]);
        const { count } = charts.units;
        output.textContent = total === 0 ? "None." : `${count(first + 1)} to ${count(first + answer[path].length)} of ${count(total)}`;
      } catch (error) {
        if (own === newest) output.textContent = `Cannot be read: ${error.message}`;
      }
      previous.disabled = first === 0;
      next.disabled = first + MAX_ROWS >= total;
    }

    function turn(pages) {
      first = Math.max(0, first + pages * MAX_ROWS);
      return load();
    }

    previous.addEventListener("click", () => turn(-1));
    next.addEventListener("click", () => turn(1));
    find(".refresh").addEventListener("click", load);
    search.addEventListener("input", () => {
      first = 0;
      clearTimeout(timer);
      timer = setTimeout(load, TYPING_MS);
    });
    const refresh = () => { if (isSeen && isUp && !document.hidden) load(); };
    new IntersectionObserver(([entry]) => {
      isSeen = entry.isIntersecting;
      refresh();
    }).observe(section);
    setInterval(refresh, REFRESH_MS);
    return {
      refresh,
      search: (part) => {
        search.value = part;
        search.dispatchEvent(new Event("input"));
        search.focus();
      },
    };
  }

  const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  // Fills `list` with a card for each of `definitions`, which are a name and a function. That returns the
  // value, a line with more of it, and if it is bad. Returns the function that shows them all.
  function cards(list, definitions) {
    const shows = definitions.map(([name, values]) => {
      const [value, more] = ["value", "more-of-it"].map((className) => dialogs.el("dd", { className }));
      list.append(dialogs.el("div", {}, dialogs.el("dt", { textContent: name }), value, more));
      return (...now) => {
        const [text, moreText, isBad = false] = values(...now);
        setText(value, text);
        setText(more, moreText);
        value.classList.toggle("bad", isBad);
      };
    });
    return (...now) => shows.forEach((show) => show(...now));
  }

  // Shows a table without pages and buttons: a row of texts each.
  function rows(table, texts) {
    const classes = [...table.querySelectorAll("thead th")].map((head) => head.className);
    const body = table.tBodies[0];
    while (body.rows.length > texts.length) body.lastElementChild.remove();
    while (body.rows.length < texts.length) {
      body.append(dialogs.el("tr", {}, ...classes.map((className, at) => at === 0
        ? dialogs.el("th", { className, scope: "row" }) : dialogs.el("td", { className }))));
    }
    texts.forEach((row, at) => row.forEach((text, column) => setText(body.rows[at].cells[column], text)));
  }

  const MAX_ROWS = 10;
  const REFRESH_MS = 4000;
  // Time without a key until a search begins.
  const TYPING_MS = 200;

  return { listing, cards, rows, setText, setUp: (value) => { isUp = value; } };
})();
