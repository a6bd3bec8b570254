// Measures the frames of the page while many lamps change. Arguments: the page's URL, a token, the number of lamps, and seconds.
const { chromium } = require("playwright-core");

const [url, token, lamps, seconds] = process.argv.slice(2);

// longestTask returns how much CPU time the longest task of the page's main thread took, in ms. The longest frame is the time on the clock, in
// which a busy machine did other things as well.
function longestTask(trace) {
  const { traceEvents } = JSON.parse(trace);
  const main = new Set(traceEvents.filter((e) => e.name === "thread_name" && e.args.name === "CrRendererMain").map((e) => `${e.pid} ${e.tid}`));
  return Math.max(...traceEvents.filter((e) => e.name === "RunTask" && main.has(`${e.pid} ${e.tid}`)).map((e) => e.tdur ?? 0)) / 1000;
}

(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
    page.setDefaultTimeout(12000);
    await page.goto(url + "/ui");
    await page.getByLabel("token", { exact: true }).check();
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.getByRole("button", { name: "Log in" }).click();
    try {
      await page.locator("#wall .lamp").nth(lamps - 1).waitFor({ state: "attached" });
    } catch (err) {
      console.error(await page.locator("header").innerText(), await page.locator("main").innerText().then((t) => t.slice(0, 1000)));
      throw err;
    }
    for (const group of ["", "state"]) {
      await page.locator("#group").selectOption(group);
      await browser.startTracing(page, { categories: ["disabled-by-default-devtools.timeline"] });
      const frames = await page.evaluate(async (ms) => {
        let changed = 0;
        new MutationObserver((all) => { changed += all.length; }).observe(document.getElementById("wall"), { attributes: true, attributeFilter: ["data-lamp"], subtree: true });
        const gaps = [];
        await new Promise((done) => {
          const begun = performance.now();
          let last = begun;
          requestAnimationFrame(function frame(now) {
            gaps.push(now - last);
            last = now;
            if (now - begun > ms) done();
            else requestAnimationFrame(frame);
          });
        });
        gaps.sort((a, b) => a - b);
        return { frames: gaps.length, longest: gaps.at(-1), p99: gaps[Math.floor(gaps.length * 0.99)], changed };
      }, seconds * 1000);
      const task = longestTask(await browser.stopTracing());
      console.log(`grouped by "${group}": ${frames.frames} frames, the longest ${frames.longest.toFixed(1)} ms, p99 ${frames.p99.toFixed(1)} ms, the longest task ${task.toFixed(1)} ms of CPU, ${frames.changed} lamps changed`);
    }
  } finally {
    await browser.close();
  }
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
