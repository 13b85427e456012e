// Questions to the user, and changes of the server.
"use strict";
const dialogs = (() => {
  const byId = (id) => document.getElementById(id);
  const el = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const dialog = byId("dialog"), form = dialog.querySelector("form");
  byId("cancel").addEventListener("click", () => dialog.close(""));

  // Asks by a dialog with `fields`, and a button for each of `actions`, which are names and labels.
  // Returns the values with the action, or null if the user cancels.
  function ask({ title, text, fields = [], actions, isDangerous }) {
    byId("dialog-title").textContent = title;
    byId("dialog-text").textContent = text;
    byId("dialog-fields").replaceChildren(...fields.map(({ label, options = [], ...properties }) => {
      const choices = options.map(([value, name]) => el("option", { value, textContent: name }));
      const field = el(choices.length ? "select" : "input", {}, ...choices);
      return el("label", {}, label, Object.assign(field, { autocomplete: "off", required: true, ...properties }));
    }));
    const cancel = byId("cancel");
    const buttons = actions.map(([value, label]) => el("button", { value, textContent: label, className: isDangerous ? "danger" : "" }));
    cancel.parentElement.replaceChildren(cancel, ...buttons);
    dialog.returnValue = "";
    dialog.showModal();
    // Enter does not do what cannot be undone.
    (form.querySelector("input, select") ?? cancel).focus();
    return new Promise((resolve) => dialog.addEventListener("close", () => {
      const values = Object.fromEntries(new FormData(form));
      byId("dialog-fields").replaceChildren();
      resolve(dialog.returnValue ? { ...values, action: dialog.returnValue } : null);
    }, { once: true }));
  }

  let timer;
  function notify(sentence) {
    clearTimeout(timer);
    byId("notice").textContent = sentence;
    timer = setTimeout(() => { byId("notice").textContent = ""; }, NOTICE_MS);
  }

  const showToken = () => { byId("forget").hidden = !api.token.get(); };
  function forgetToken() {
    api.token.forget();
    showToken();
    return api.WRONG;
  }
  byId("forget").addEventListener("click", () => {
    forgetToken();
    notify("The token is forgotten.");
  });
  showToken();

  async function askForToken(complaint) {
    const given = await ask({
      title: "Admin token",
      text: `${complaint} It is in the file of --admin-token-file. This tab keeps it until it is closed.`.trim(),
      fields: [{ label: "Token", name: "token", type: "password", pattern: "[!-~]{16,256}", title: "16 to 256 visible characters of ASCII" }],
      actions: [["ok", "Continue"]],
    });
    return given && given.token;
  }

  // Asks for the token where the server shows nothing without it. Returns false if the user has none.
  async function giveToken(complaint) {
    const given = await askForToken(complaint);
    if (given !== null) api.token.set(given);
    showToken();
    return given !== null;
  }

  // Changes the server. Returns true if it did, and then tells the user so by `sentence`.
  async function change(name, body, sentence) {
    try {
      const answer = await api.change(`/api/v1/${name}`, body, askForToken);
      if (answer !== null) notify(sentence);
      return answer !== null;
    } catch (error) {
      notify(`Not done: ${error.message}`);
      return false;
    } finally {
      showToken();
    }
  }

  const times = [["600", "10 minutes"], ["3600", "1 hour"], ["86400", "1 day"], ["2592000", "30 days"]];
  const untilUnbanned = ["", "until the ban is lifted"];

  async function say(room) {
    const place = room === null ? "all rooms" : `the room ${room}`;
    const given = await ask({
      title: `Say to ${place}`, text: "Everyone there receives it as a sentence of the server.",
      fields: [{ label: "Text", name: "text", maxLength: 400 }], actions: [["ok", "Say"]],
    });
    return given && change("say", { room, text: given.text }, `Said to ${place}.`);
  }

  async function drain() {
    const given = await ask({
      title: "Drain the server", isDangerous: true, actions: [["ok", "Drain and stop"]],
      text: "New peers are refused from now on, and those present are told. Then the server stops.",
      fields: [{ label: "Stop in", name: "time", options: [["10", "10 seconds"], ["60", "1 minute"], ["300", "5 minutes"], ["1800", "30 minutes"]], value: "60" }],
    });
    return given && change("drain", { time_s: Number(given.time) }, "The server drains.");
  }

  async function ban(whom, address) {
    const host = address.replace(/:\d+$/, "").replace(/[[\]]/g, "");
    const given = await ask({
      title: `Ban the network of ${whom}`, isDangerous: true, actions: [["ok", "Ban"]],
      text: "All peers of this network are removed, and new ones are refused. Others may share the address.",
      fields: [{ label: "Network", name: "net", value: `${host}/${host.includes(":") ? 64 : 32}` },
        { label: "For", name: "time", required: false, options: [...times, untilUnbanned], value: "3600" }],
    });
    return given && change("ban", { net: given.net, time_s: given.time ? Number(given.time) : null }, `${given.net} is banned.`);
  }

  // Shows a peer, and what can be done with it.
  async function manage(peer, state) {
    const whom = peer.name ?? peer.address;
    const given = await ask({
      title: whom, text: `${peer.address} in ${peer.room}\n${state}`, isDangerous: true,
      actions: [["kick", "Kick"], peer.is_muted ? ["unmute", "Unmute"] : ["mute", "Mute…"], ["ban", "Ban…"]],
    });
    switch (given?.action) {
      case "kick": return change("kick", { whom: peer.address }, `${whom} is removed.`);
      case "unmute": return change("unmute", { whom: peer.address }, `${whom} may speak again.`);
      case "ban": return ban(whom, peer.address);
      case "mute": {
        const { time } = await ask({
          title: `Mute ${whom}`, text: "Its texts and direct messages are dropped.",
          fields: [{ label: "For", name: "time", options: times }], actions: [["ok", "Mute"]],
        }) ?? {};
        return time && change("mute", { whom: peer.address, time_s: Number(time) }, `${whom} is muted.`);
      }
    }
  }

  const NOTICE_MS = 8000;

  return { el, say, drain, manage, giveToken, forgetToken };
})();
