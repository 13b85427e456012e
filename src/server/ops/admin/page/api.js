// Requests to the server, with the token, and its events.
"use strict";
const api = (() => {
  const KEY = "bullhorn-admin-token";
  const token = {
    get: () => sessionStorage.getItem(KEY),
    set: (value) => sessionStorage.setItem(KEY, value),
    forget: () => sessionStorage.removeItem(KEY),
  };

  async function send(path, { body, signal, given = token.get() } = {}) {
    const headers = {};
    if (given) headers.Authorization = `Bearer ${given}`;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store", signal });
    if (response.ok) return response;
    const text = await response.text();
    let sentence = text.trim() || `The server answered ${response.status}.`;
    try { sentence = JSON.parse(text).error ?? sentence; } catch { /* It is not JSON. */ }
    throw Object.assign(new Error(sentence), { status: response.status });
  }

  const read = async (path) => (await send(path)).json();

  // Changes something. Asks for the token by `askForToken` until it is right, and keeps it then.
  // Returns null if the user has none.
  async function change(path, body, askForToken) {
    for (let complaint = "";;) {
      const given = token.get() ?? await askForToken(complaint);
      if (given === null) return null;
      try {
        const answer = await (await send(path, { body, given })).json();
        token.set(given);
        return answer;
      } catch (error) {
        if (error.status !== 401) throw error;
        token.forget();
        complaint = WRONG;
      }
    }
  }

  // Yields the events of a stream as pairs of a name and JSON. Ends when the server ends it, or
  // sends nothing for some time.
  async function* events(path) {
    const stop = new AbortController();
    let alarm;
    const wait = () => {
      clearTimeout(alarm);
      alarm = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    wait();
    try {
      const response = await send(path, { signal: stop.signal });
      let text = "";
      for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
        wait();
        const blocks = (text + part).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = new Map(block.split("\n").map((line) => [line.split(":")[0], line.slice(line.indexOf(":") + 1).trim()]));
          if (fields.has("data")) yield [fields.get("event"), JSON.parse(fields.get("data"))];
        }
      }
    } finally {
      clearTimeout(alarm);
      stop.abort();
    }
  }

  // An event comes each second.
  const SILENCE_MS = 5000;
  const WRONG = "This token is wrong.";

  return { token, change, read, events, WRONG };
})();
