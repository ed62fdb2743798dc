// The page of `setaccio report` in a real Chromium, opened from a disk.
//
//     node tests/page/check_report.mjs PACKAGES CHROMIUM OUT [PICTURES]
//
// PACKAGES holds node_modules with the packages of tests/page/package.json, OUT is a build of tests/python/check_report.py with its
// page. Charts are drawn; every count is the ledger's; search and filters narrow; what rows hold is shown and never done; nothing is
// asked of a network; the keyboard is enough; axe-core finds nothing serious, light and dark, on a telephone too. PICTURES is a folder
// for them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { judge, launch, reaches, visit } from "./chromium.mjs";

const [packages, executablePath, out, pictures] = process.argv.slice(2);
const { browser, axe } = await launch(packages, executablePath);
const url = pathToFileURL(path.resolve(out, "report.html")).href;
const ledger = JSON.parse(readFileSync(path.join(out, "ledger.json"), "utf8"));
const rules = ledger.stages.flatMap(stage => stage.rules.map(rule => ({ stage: stage.stage, ...rule })));
const open = options => visit(browser, url, { offline: true, ...options });
const unfold = page => page.evaluate(() => { for (const e of document.querySelectorAll("details")) { e.open = true; e.ontoggle?.(); } });

// Charts are drawn, and counts are the ledger's, of all sources and of one.
{
    const { page, strange } = await open();
    assert.equal(await page.locator("h1").textContent(), "Planted rows");
    assert.ok(await page.locator("svg path").count() > 5 && await page.locator("svg rect").count() > 10, "charts are drawn");
    const counts = () => page.locator("details[data-rule] summary [data-value]").evaluateAll(all => all.map(e => Number(e.dataset.value)));
    assert.deepEqual(await counts(), rules.map(rule => rule.dropped));
    const shown = async name => page.locator(`tr[data-step=${JSON.stringify(name)}] td[data-value]`).evaluateAll(all => all.map(e => Number(e.dataset.value)));
    const read = ledger.stages[0];
    assert.deepEqual(await shown("read"), [read.rows_in, read.rows_in - read.rows_out]);
    for (const rule of rules.filter(rule => rule.stage === "screen")) assert.equal((await shown(rule.rule))[1], rule.dropped, rule.rule);
    const splits = await page.locator("tr:has(th:text-is('train')) td[data-value]").first().getAttribute("data-value");
    assert.equal(Number(splits), ledger.splits.find(split => split.split === "train").rows);
    await page.locator("#source").selectOption("forum");
    const of = rule => rule.sources.find(of => of.source === "forum");
    assert.deepEqual(await counts(), rules.filter(of).map(rule => of(rule).dropped));
    assert.equal((await shown("read"))[0], read.sources.find(of => of.source === "forum").rows_in);
    assert.ok(await page.locator("figure[data-source]").evaluateAll(all => all.length > 0 && all.every(e => e.dataset.source === "forum")));
    assert.deepEqual(strange, []);
}

// Search and filters narrow what is shown, and say how many fit.
{
    const { page, strange } = await open();
    const all = await page.locator("#found").textContent();
    await page.locator("#words").fill("ornitorinco");
    await page.getByText("1 row of").waitFor();
    assert.equal(await page.locator("details[data-rule]").count(), 1);
    assert.equal(await page.locator("details[data-rule] .row").count(), 1);
    assert.ok((await page.locator("details[data-rule] .row").textContent()).includes("ornitorinco"));
    await page.locator("button[type=reset]").click();
    assert.equal(await page.locator("#found").textContent(), all);
    await page.locator("#rule").selectOption("length");
    assert.equal(await page.locator("details[data-rule]").count(), 1);
    await page.locator("#rule").selectOption("");
    await page.locator("#language").selectOption("en");
    const english = await page.locator("#found").textContent();
    assert.ok(Number(/^[\d,]+/.exec(english)[0]) > 0 && english !== all, english);
    assert.deepEqual(strange, []);
}

// By keyboard: a rule is opened, a long text unfolded.
{
    const { page, strange } = await open();
    const rule = page.locator("details[data-rule=length]");
    await rule.locator("summary").focus();
    await page.keyboard.press("Enter");
    await rule.locator(".row").first().waitFor();
    const fold = page.locator("details[data-rule=planted] .fold").first();
    await page.locator("details[data-rule=planted] summary").focus();
    await page.keyboard.press("Enter");
    await fold.focus();
    await page.keyboard.press("Enter");
    assert.equal(await fold.getAttribute("aria-expanded"), "true");
    assert.deepEqual(strange, []);
}

for (const [name, options] of [
    ["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
    ["telephone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
]) {
    // axe-core is not of the page, and its policy would refuse it.
    const { page, strange } = await open({ ...options, bypassCSP: true });
    if (pictures) await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
    await judge(page, axe, `${name}, folded`);
    await unfold(page);
    const main = page.locator("main");
    assert.equal(await main.locator("script, img, iframe, i, b, a").count(), 0, "what rows hold is no element");
    const planted = await page.locator("details[data-rule=planted] .text").first().textContent();
    for (const part of ["</script><script>", "<img src=x onerror=", "[qui](javascript:", "\\u{202e}", "\\u{1b}[31m", "<!--"]) assert.ok(planted.includes(part), `${part}: ${planted}`);
    assert.deepEqual(await page.locator("details[data-rule=planted] mark").allTextContents().then(all => [...new Set(all)]), ["Piantato"]);
    assert.equal(await page.evaluate(() => window.planted), undefined);
    assert.equal(await page.title(), "Planted rows");
    await judge(page, axe, name);
    if (pictures) await page.screenshot({ path: path.join(pictures, `${name}-unfolded.png`), fullPage: true });
    await reaches(page, name, "button, select, input, summary, a[href]");
    assert.deepEqual(strange, []);
}

// On paper the forms are gone and the texts are whole.
{
    const { page, strange } = await open();
    await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
    await page.emulateMedia({ media: "print" });
    assert.ok(!(await page.locator("#filter").isVisible()) && await page.locator("details[data-rule] .row").first().isVisible());
    assert.equal(await page.locator(".text").evaluateAll(all => all.filter(e => e.scrollHeight > e.clientHeight + 1).length), 0);
    assert.deepEqual(strange, []);
}

// In a browser that holds the page to its policy: nothing is broken by it.
{
    const context = await browser.newContext({ offline: true });
    const page = await context.newPage();
    const refused = [];
    page.on("console", message => message.type() === "error" && refused.push(message.text()));
    await page.goto(url);
    await unfold(page);
    assert.ok(await page.locator("svg").count() > 1);
    assert.deepEqual(refused, []);
}
await browser.close();
console.log("the page of a build: drawn, counted, searched, safe, by keyboard, printed, light, dark and on a telephone");
