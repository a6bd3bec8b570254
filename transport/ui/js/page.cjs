// Uses the page in a real browser. The test that starts this program reads what it wants done from standard output, a line each, and answers
// each with a line on standard input.
const { chromium } = require("playwright-core");
const axe = require("axe-core");
const readline = require("node:readline");
const path = require("node:path");

const [url, shots] = process.argv.slice(2);
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

// want asks the test to do something, and waits until it is done.
async function want(...words) {
  console.log(words.join(" "));
  return (await answers.next()).value;
}

function check(ok, what) {
  if (!ok) throw new Error(what);
}

async function main() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  try {
    await use(browser);
  } catch (err) {
    for (const page of browser.contexts().flatMap((c) => c.pages())) console.error(await page.locator("body").innerText());
    throw err;
  } finally {
    await browser.close();
  }
  await want("done");
}

async function use(browser) {
  const page = await browser.newPage({ viewport: { width: 1366, height: 768 } });
  const asked = [];
  const wrong = [];
  page.on("request", (q) => asked.push(q.url()));
  page.on("console", (m) => { if (m.type() === "error" && !m.text().includes("Failed to load resource") && !m.text().includes("ERR_")) wrong.push(m.text()); });
  page.on("pageerror", (e) => wrong.push(String(e)));
  await page.goto(url + "/ui");

  const accessible = async (where) => {
    // page.evaluate is not bound by the page's policy, which forbids scripts of texts.
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => window.axe.run());
    check(violations.length === 0, `${where}: ${violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html).join(" ")}`).join("\n")}`);
  };
  const sizes = { phone: [360, 740], desk: [1366, 768], wall: [3840, 2160] };
  const shoot = async (name) => {
    for (const [size, [width, height]] of Object.entries(sizes)) {
      if (size === "wall" && !shots) continue; // a browser without a graphics card takes seconds to draw it
      await page.setViewportSize({ width, height });
      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
        await accessible(`${name}, ${size}, ${scheme}`);
        if (shots) await page.screenshot({ path: path.join(shots, `${name}-${size}-${scheme}.png`) });
      }
    }
    await page.setViewportSize({ width: 1366, height: 768 });
  };
  const lamp = (extension, kind) => page.locator(`#wall button[data-ext="${extension}"][data-lamp="${kind}"]`);
  const logIn = async (password) => {
    await page.getByLabel("User", { exact: true }).fill("ada");
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.getByLabel("Realm or account name").fill("acme.example.com");
    await page.getByRole("button", { name: "Log in" }).click();
  };

  // Log in: with wrong credentials, then with good ones.
  await page.getByRole("heading", { name: "Log in" }).waitFor();
  await shoot("login");
  await logIn("wrong");
  await page.getByText("These credentials are not good.").waitFor();
  await logIn("s3cret");
  await lamp("1001", "idle").waitFor();
  check((await page.evaluate(() => sessionStorage.length)) === 0, "the token is kept though nobody asked for that");

  // A lamp lights and goes out with a call.
  await want("call", "1002", "early");
  const begun = Date.now();
  await lamp("1002", "ringing").waitFor();
  console.error(`the page showed the call ${Date.now() - begun} ms after it was acknowledged`);
  await want("call", "1002", "confirmed");
  await lamp("1002", "busy").waitFor();
  check((await lamp("1002", "busy").textContent()).includes("busy "), "the lamp has no word");
  await want("watch", "1002");

  // The keyboard: one stop in the tab order, arrows from lamp to lamp, Enter opens one.
  await lamp("1001", "idle").focus();
  await page.keyboard.press("ArrowRight");
  check((await page.evaluate(() => document.activeElement.dataset.ext)) === "1002", "the arrow key does not lead to the next lamp");
  await page.keyboard.press("Enter");
  const dialog = page.locator("#extension");
  await dialog.getByText("Why it is lit").waitFor();
  for (const text of ["dialog_update", "1009@acme.example.com"]) check((await dialog.textContent()).includes(text), `the dialog does not say ${text}`);
  await shoot("extension");
  await page.keyboard.press("Escape");

  // Set asks first. Then the state is set, and the page says why the lamp is lit.
  await lamp("*3101", "idle").click();
  await dialog.getByRole("button", { name: "Set busy" }).click();
  await shoot("confirm");
  await page.locator("#confirm").getByRole("button", { name: "Cancel" }).click();
  await dialog.getByRole("button", { name: "Set busy" }).click();
  await page.locator("#confirm").getByRole("button", { name: "Set busy" }).click();
  await dialog.locator('[data-kind="manual_state"]').waitFor();
  await lamp("*3101", "busy").waitFor({ state: "attached" });
  await dialog.getByRole("button", { name: "Reset" }).click();
  await page.locator("#confirm").getByRole("button", { name: "Reset" }).click();
  await lamp("*3101", "idle").waitFor({ state: "attached" });
  await dialog.getByRole("button", { name: "Close" }).click();
  await lamp("*3101", "idle").waitFor();

  // Search, filter and group.
  await page.locator("#search").fill("lovelace");
  await lamp("1002", "busy").waitFor({ state: "hidden" });
  check(await lamp("1001", "idle").isVisible(), "the search does not find a name");
  await page.locator("#search").fill("");
  await page.locator("#state").selectOption("lit");
  await lamp("1001", "idle").waitFor({ state: "hidden" });
  check(await lamp("1002", "busy").isVisible(), "the filter hides a lit lamp");
  await page.locator("#state").selectOption("");
  await page.locator("#group").selectOption("state");
  await page.getByRole("heading", { name: "busy" }).waitFor();
  await shoot("lamps");

  // The node is killed and comes back. What changed meanwhile is there.
  await want("kill");
  await page.getByText("Connection lost").waitFor();
  await want("start");
  await page.getByText("Live", { exact: true }).waitFor();
  await lamp("1002", "busy").waitFor();
  await page.locator('.group[aria-label="busy"] button[data-ext="1002"]').waitFor();
  await want("call", "1002", "terminated");
  await lamp("1002", "idle").waitFor();
  await page.locator('.group[aria-label="idle"] button[data-ext="1002"]').waitFor(); // the lamp has moved to the group of its state

  // The cluster is for the master account alone.
  await page.getByRole("link", { name: "Cluster" }).click();
  await page.getByText("Only a token of the master account").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("token", { exact: true }).check();
  await page.getByLabel("Token", { exact: true }).fill(await want("master"));
  await page.getByLabel("Stay logged in").check();
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("cell", { name: "serving" }).waitFor();
  await shoot("cluster");
  await page.reload();
  await page.getByRole("link", { name: "Lamps" }).click();
  await page.locator("#account").selectOption({ label: "Acme · acme.example.com" });
  await lamp("1001", "idle").waitFor();

  check(wrong.length === 0, `the page has errors: ${wrong.join("\n")}`);
  for (const u of asked) check(u.startsWith(url + "/") && !u.includes("token") && !u.includes("?auth"), `the page asked for ${u}`);
}

main().then(() => process.exit(0), (err) => { // standard input is still open
  console.error(err.message, err.stack);
  process.exit(1);
});
