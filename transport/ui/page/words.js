// What a lamp shows, in one word, and times in words.
export const kinds = ["ringing", "busy", "hold", "message", "idle", "offline"];

export function kindOf(lamp) {
  if (lamp.state === "early") return lamp.source === "mailbox" ? "message" : "ringing";
  if (lamp.state === "confirmed") {
    if (lamp.source === "mailbox") return "message";
    return lamp.held ? "hold" : "busy";
  }
  if (lamp.messages) return "message";
  return lamp.offline ? "offline" : "idle";
}

export const isLit = (lamp) => lamp.state === "early" || lamp.state === "confirmed";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

// since says in a few characters when something was: a time of today, or a date.
export function since(text) {
  const at = new Date(text);
  return (Date.now() - at < 12 * 3600e3 ? clock : day).format(at);
}

export const moment = (text) => (text ? exact.format(new Date(text)) : "");

// ago says how long ago something was.
export function ago(text) {
  const s = Math.max(0, Math.round((Date.now() - new Date(text)) / 1000));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}
