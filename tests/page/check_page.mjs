// The chat page of `setaccio serve` in a real Chromium.
//
//     node tests/page/check_page.mjs PACKAGES CHROMIUM URL [PICTURES]
//
// PACKAGES holds node_modules with the packages of tests/page/package.json, URL is a server that serves a run. Answers are streamed
// and can be stopped; the base stands beside the adapter; what a model writes is shown and never done; no request leaves the server;
// the keyboard is enough; axe-core finds nothing serious, light and dark, on a telephone too. PICTURES is a folder for them.

import assert from "node:assert/strict";
import path from "node:path";

import { judge, launch, reaches, visit } from "./chromium.mjs";

const [packages, executablePath, url, pictures] = process.argv.slice(2);
const { browser, axe } = await launch(packages, executablePath);

async function open(options = {}) {
    const { page, strange } = await visit(browser, url, { locale: "it-IT", ...options });
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
    await judge(page, axe, name);
    if (pictures) await page.screenshot({ path: path.join(pictures, `${name}.png`) });
    assert.deepEqual(strange, []);
    await reaches(page, name);
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
