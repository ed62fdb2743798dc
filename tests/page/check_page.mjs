// The chat page of `setaccio serve` in a real Chromium.
//
//     node tests/page/check_page.mjs PACKAGES CHROMIUM URL [PICTURES]
//
// PACKAGES holds node_modules with the packages of tests/page/package.json, URL is a server that serves a run. Answers are streamed
// and can be stopped; the base stands beside the adapter; what a model writes is shown and never done; no request leaves the server;
// the keyboard is enough; axe-core finds nothing serious, light and dark, on a telephone too. PICTURES is a folder for them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [packages, executablePath, url, pictures] = process.argv.slice(2);
const modules = path.resolve(packages, "node_modules");
const { chromium } = await import(pathToFileURL(path.join(modules, "playwright-core/index.mjs")));
const axe = readFileSync(path.join(modules, "axe-core/axe.min.js"), "utf8");
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args });

async function open(options = {}) {
    const context = await browser.newContext({ locale: "it-IT", ...options });
    const page = await context.newPage();
    const strange = [];
    page.on("request", request => request.url().startsWith(url) || strange.push(request.url()));
    page.on("pageerror", error => strange.push(String(error)));
    page.on("dialog", dialog => { strange.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
    await page.goto(url);
    await page.locator("#model option").first().waitFor({ state: "attached" });
    return { page, strange };
}

// What a model might write, streamed as a server does.
const PLANTED = "# Titolo\n\n<script>window.planted = 1</script><img src=x onerror=\"window.planted = 2\">\n\n- **uno** e `due`\n- [qui](javascript:window.planted=3) e "
    + "[là](https://esempio.example/a)\n\n```\n<b>codice</b>\n```\n";
const events = text => [...text.match(/[^]{1,7}/g).map(content => ({ choices: [{ delta: { content } }] })), { choices: [{ delta: {}, finish_reason: "stop" }] }];
const stream = text => events(text).map(event => `data: ${JSON.stringify(event)}\n\n`).join("") + "data: [DONE]\n\n";

// Asked by the keyboard alone, in Italian, base beside adapter.
{
    const { page, strange } = await open();
    assert.equal(await page.locator("html").getAttribute("lang"), "it");
    assert.equal(await page.locator("#send").textContent(), "Invia");
    await page.locator("#tokens").fill("60");
    await page.locator("#message").focus();
    await page.keyboard.type("Dove va il treno?");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answer div:last-child")?.textContent.length > 20);
    await page.locator("#send").waitFor({ state: "visible" });
    assert.equal(await page.locator(".answer").count(), 1);
    await page.locator("#beside").check();
    await page.locator("#tokens").fill("30");
    await page.locator("#message").fill("E poi?");
    await page.locator("#send").click();
    await page.locator("#send").waitFor({ state: "visible" });
    assert.equal(await page.locator(".answer").count(), 3);
    const heads = await page.locator(".answer .head span:first-child").allTextContents();
    assert.notEqual(heads[1], heads[2]);
    await page.locator("#language").selectOption("en");
    assert.equal(await page.locator("#send").textContent(), "Send");
    // A long answer is stopped, and what was written of it stays.
    await page.locator("#clear").click();
    await page.locator("#beside").uncheck();
    await page.locator("#tokens").fill("4000");
    await page.locator("#message").fill("Racconta.");
    await page.locator("#send").click();
    await page.waitForFunction(() => [...document.querySelectorAll(".answer div:last-child")].at(-1).textContent.length > 5);
    await page.keyboard.press("Escape");
    await page.getByText("stopped", { exact: true }).waitFor();
    await page.locator("#clear").click();
    assert.equal(await page.locator(".answer").count(), 0);
    assert.deepEqual(strange, []);
}

// What is planted is shown, and nothing is done.
for (const [name, options] of [
    ["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
    ["telephone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
]) {
    const { page, strange } = await open({ ...options, bypassCSP: true });
    await page.route("**/v1/chat/completions", route => route.fulfill({ contentType: "text/event-stream", body: stream(PLANTED) }));
    if (!(await page.locator("#beside").isDisabled())) await page.locator("#beside").check();
    await page.locator("#message").fill("Scrivi <i>qualcosa</i>.");
    await page.locator("#send").click();
    await page.locator(".answer pre").first().waitFor();
    await page.locator("#send").waitFor({ state: "visible" });
    const answer = page.locator(".answer > div:last-child").first();
    const text = await answer.textContent();
    assert.ok(text.includes("<script>window.planted = 1</script>") && text.includes("onerror"), text);
    assert.ok(text.includes("[qui](javascript:window.planted=3)"), "what is no address of the web is text");
    assert.deepEqual(await answer.locator("a").evaluateAll(links => links.map(link => link.href)), ["https://esempio.example/a"]);
    assert.equal(await answer.locator("script, img, i, b").count(), 0);
    assert.equal(await answer.locator("strong").count(), 2);
    assert.equal(await answer.locator("pre code").textContent(), "<b>codice</b>");
    assert.equal(await page.locator(".mine").textContent(), "Scrivi <i>qualcosa</i>.");
    assert.equal(await page.evaluate(() => window.planted), undefined);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth + 1);
    assert.ok(!wide, `${name}: it is wider than the window`);
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
    const told = found.violations.map(v => `${name}: ${v.impact} ${v.id}: ${v.nodes.map(n => n.html).join(" ")}`);
    assert.deepEqual(told, []);
    if (pictures) await page.screenshot({ path: path.join(pictures, `${name}.png`) });
    assert.deepEqual(strange, []);
    // Every control is reached by Tab.
    const all = await page.evaluate(() => [...document.querySelectorAll("button, select, input, textarea")].filter(e => e.checkVisibility() && !e.disabled).length);
    await page.evaluate(() => document.activeElement.blur());
    const reached = new Set();
    for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        const at = await page.evaluate(() => { const e = document.activeElement; return e.matches("button, select, input, textarea") ? [...document.querySelectorAll("*")].indexOf(e) : -1; });
        if (at >= 0) reached.add(at);
    }
    assert.equal(reached.size, all, `${name}: controls that Tab reaches`);
}

// In a browser that holds the page to its policy: nothing is broken by it.
{
    const { page, strange } = await open();
    const refused = [];
    page.on("console", message => message.type() === "error" && refused.push(message.text()));
    await page.locator("#message").fill("Ciao");
    await page.locator("#tokens").fill("5");
    await page.locator("#send").click();
    await page.locator("#send").waitFor({ state: "visible" });
    assert.deepEqual([...refused, ...strange], []);
}
await browser.close();
console.log("the chat page: streamed, stopped, side by side, safe, by keyboard, light, dark and on a telephone");
