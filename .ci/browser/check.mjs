// Opens reports in a real browser, as their readers do, and says what is wrong with them.
//
//   node check.mjs OUT NAME=FILE…     NAME-1440.png, NAME-390.png … are left in OUT for somebody to look at
//
// Of each page, at two widths, light and dark: axe-core finds nothing (of a large page: in its head, and in the first
// forty cells, since the others are of the same shape), nothing is asked of a network, no script fails,
// the page is not wider than the window, and where something failed the first cause shows without scrolling at
// 1440×900. Exit 1 where one of these is not so.

import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import { chromium } from "playwright-core";

const [out, ...pages] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const wrong = [];
/** Cells of a page that axe looks at. */
const CELLS = 40;

/** The page at one width; `scheme` is light or dark. */
async function look(name, file, width, height, scheme) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: true });
  const page = await context.newPage();
  const here = `${name} at ${width}×${height}, ${scheme}`;
  const url = pathToFileURL(resolve(file)).href;
  page.on("request", (request) => {
    if (request.url() !== url) wrong.push(`${here}: asks for ${request.url()}`);
  });
  page.on("console", (message) => {
    if (message.type() === "error") wrong.push(`${here}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`${here}: ${error.message}`));
  const began = performance.now();
  await page.goto(url);
  const cause = page.locator(".cause h3").first();
  const causes = await page.locator(".cause").count();
  if (causes > 0) await cause.waitFor({ state: "visible" });
  const took = Math.round(performance.now() - began);
  const seen = causes > 0 ? await cause.boundingBox() : null;
  if (width === 1440 && seen && seen.y + seen.height > height) {
    wrong.push(`${here}: the first cause begins at ${Math.round(seen.y)} px`);
  }
  // The page of many nights has no verdict of its own.
  const verdict = (await page.locator("h1 .pill").allTextContents()).join("").trim() || "no verdict";
  if (["failed", "errored"].includes(verdict) && causes === 0) wrong.push(`${here}: ${verdict}, and no cause is told`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) wrong.push(`${here}: ${wide} px wider than the window`);
  await page.screenshot({ path: join(out, `${name}-${width}${scheme === "dark" ? "-dark" : ""}.png`) });
  // The cells beyond are of the same shape, and axe takes minutes for a thousand.
  const cells = await page.locator("#cells > details").count();
  await page.evaluate((most) => {
    document.querySelectorAll("#cells > details").forEach((cell, at) => at < most || cell.remove());
  }, CELLS);
  // What the browser leaves out while nobody scrolls there has no colours yet.
  await page.addStyleTag({ content: "#cells > details { content-visibility: visible !important }" });
  await page.evaluate(axe.source);
  const judge = () => page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  let found = await judge();
  // Colours of what is just being drawn were once misread: what is wrong is so twice.
  if (found.violations.length > 0) found = await judge();
  for (const violation of found.violations) {
    const where = violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ");
    wrong.push(`${here}: ${violation.id} (${violation.impact}), ${violation.nodes.length} times: ${violation.help}: ${where}`);
  }
  const first = seen ? `, first cause at ${Math.round(seen.y)} px after ${took} ms` : `, loaded in ${took} ms`;
  console.log(`${here}: ${verdict}, ${cells} cells, ${causes} causes${first}, ${found.passes.length} rules of axe hold`);
  await context.close();
}

for (const page of pages) {
  const [name, file] = page.split("=");
  await look(name, file, 1440, 900, "light");
  await look(name, file, 1440, 900, "dark");
  await look(name, file, 390, 844, "light");
}
await browser.close();
for (const line of wrong) console.error(line);
console.log(`${pages.length} pages, ${wrong.length} things wrong`);
process.exit(wrong.length > 0 ? 1 : 0);
