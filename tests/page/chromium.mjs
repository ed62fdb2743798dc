// What the tests of pages share: a Chromium, what a page must not do, and what every page must be.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

// A browser, driven by the packages of tests/page/package.json.
export async function launch(packages, executablePath) {
    const modules = path.resolve(packages, "node_modules");
    const { chromium } = await import(pathToFileURL(path.join(modules, "playwright-core/index.mjs")));
    const axe = readFileSync(path.join(modules, "axe-core/axe.min.js"), "utf8");
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"];
    return { browser: await chromium.launch({ executablePath, args }), axe };
}

// A page, and the list of what it does and should not: requests elsewhere, errors, dialogs.
export async function visit(browser, url, options = {}) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const strange = [];
    page.on("request", request => request.url().startsWith(url) || strange.push(request.url()));
    page.on("pageerror", error => strange.push(String(error)));
    page.on("dialog", dialog => { strange.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
    await page.goto(url);
    return { page, strange };
}

// It is as wide as the window, and axe-core finds nothing that breaks WCAG 2.1 AA.
export async function judge(page, axe, name) {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1);
    assert.ok(!wide, `${name}: it is wider than the window`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    assert.deepEqual(found.violations.map(v => `${name}: ${v.impact} ${v.id}: ${v.nodes.slice(0, 5).map(n => n.html).join(" ")}`), []);
}

// Tab reaches every control that is there.
export async function reaches(page, name, kinds = "button, select, input, textarea") {
    const all = await page.evaluate(kinds => [...document.querySelectorAll(kinds)].filter(e => e.checkVisibility() && !e.disabled).length, kinds);
    await page.evaluate(() => { document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0); });
    const reached = new Set();
    for (let i = 0; i < 3 * all + 60 && reached.size < all; i++) {
        await page.keyboard.press("Tab");
        const at = await page.evaluate(kinds => { const e = document.activeElement; return e.matches(kinds) ? [...document.querySelectorAll("*")].indexOf(e) : -1; }, kinds);
        if (at >= 0) reached.add(at);
    }
    assert.equal(reached.size, all, `${name}: controls that Tab reaches`);
}
