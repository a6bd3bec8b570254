// The stream of an account's lamps (docs/contract/http.md, "Events"). The browser's EventSource cannot send the token in a header, so this
// module reads the events from a fetch. After a break it asks for what it missed with Last-Event-ID.
import { events as open } from "./api.js";

const silence = 12000; // a stream of which nothing came for so long is dead: the node says every 5 s that it lives

// follow calls on(name, data) for each event until stop is aborted. It calls state with "live", "lost" or "refused".
export async function follow(accountID, stop, on, state) {
  let last = "";
  for (let wait = 250; !stop.aborted; wait = Math.min(2 * wait, 5000)) {
    const quiet = new AbortController();
    let timer = setTimeout(() => quiet.abort(), silence);
    try {
      const answer = await open(accountID, AbortSignal.any([stop, quiet.signal]), last);
      if (answer.status === 401 || answer.status === 403) return state("refused");
      if (!answer.ok) throw new Error(String(answer.status));
      state("live");
      for await (const e of events(answer.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => quiet.abort(), silence);
        wait = 250;
        if (e.event === "reload") last = "";
        if (e.id) last = e.id;
        on(e.event, JSON.parse(e.data));
      }
    } catch {
      // it broke off: the next round asks again
    }
    clearTimeout(timer);
    if (stop.aborted) return;
    state("lost");
    await new Promise((go) => setTimeout(go, wait * (0.5 + Math.random())));
  }
}

// events reads server-sent events from a body.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const e = {};
      for (const line of block.split("\n")) {
        const colon = line.indexOf(": ");
        e[line.slice(0, colon)] = line.slice(colon + 2);
      }
      yield e;
    }
  }
}
