// The pages of `setaccio report` for runs and chains in a real Chromium, opened from a disk.
//
//     node tests/page/check_run_report.mjs PACKAGES CHROMIUM FOLDER... [--pictures DIR]
//
// PACKAGES holds node_modules with the packages of tests/page/package.json, each FOLDER a run or a chain with its page. Curves are drawn,
// samples stand beside each other, links lead to files that are there, nothing is asked of a network, the keyboard is enough, and axe-core
// finds nothing serious, light and dark, on a telephone too.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { judge, launch, reaches, visit } from "./chromium.mjs";

const [packages, executablePath, ...rest] = process.argv.slice(2);
const at = rest.indexOf("--pictures"), pictures = at < 0 ? null : rest[at + 1];
const { browser, axe } = await launch(packages, executablePath);
for (const folder of at < 0 ? rest : rest.slice(0, at)) {
    const url = pathToFileURL(path.resolve(folder, "report.html")).href;
    for (const [name, options] of [
        ["light", { colorScheme: "light" }], ["dark", { colorScheme: "dark" }],
        ["telephone", { colorScheme: "light", viewport: { width: 390, height: 844 } }],
    ]) {
        const { page, strange } = await visit(browser, url, { offline: true, bypassCSP: true, ...options });
        const where = `${folder}, ${name}`;
        const metrics = path.join(folder, "metrics.jsonl");
        if (existsSync(metrics)) {
            const lines = readFileSync(metrics, "utf8").trim().split("\n").map(line => JSON.parse(line));
            const evaluations = lines.filter(line => line.eval_loss != null);
            const table = page.locator("table", { has: page.locator("caption", { hasText: /^Evaluations$/ }) });
            assert.equal(await table.locator("tbody tr").count(), evaluations.length, where);
            const curves = await page.locator("svg path.s-curve").evaluateAll(all => all.map(e => e.getAttribute("d").split(/[ML]/).length - 1));
            assert.equal(curves[0], lines.filter(line => line.loss != null).length, `${where}: points of the loss`);
            const asked = lines.filter(line => line.samples?.length);
            if (asked.length) assert.equal(await page.locator("main .row").count(), Math.min(asked.length, 6) * asked.at(-1).samples.length, where);
        } else {
            assert.ok(await page.locator("svg path.s-curve").count() > 0 && await page.locator("tbody tr").count() > 1, where);
        }
        // Every word of a picture is within it.
        const cut = await page.locator("figure svg").evaluateAll(all => all.flatMap(svg => [...svg.querySelectorAll("text")].filter(text => {
            const { x, width } = text.getBBox();
            return x < 0 || x + width > svg.viewBox.baseVal.width;
        }).map(text => text.textContent)));
        assert.deepEqual(cut, [], `${where}: labels of curves`);
        for (const link of await page.locator("main a").evaluateAll(all => all.map(e => e.href))) {
            assert.ok(existsSync(fileURLToPath(link)), `${where}: ${link} leads nowhere`);
        }
        await page.evaluate(() => { for (const e of document.querySelectorAll("details")) { e.open = true; e.ontoggle?.(); } });
        await judge(page, axe, where);
        await reaches(page, where, "button, select, input, summary, a[href]");
        if (pictures) await page.screenshot({ path: path.join(pictures, `${path.basename(folder)}-${name}.png`), fullPage: true });
        assert.deepEqual(strange, []);
    }
}
await browser.close();
console.log("the pages of runs: curves, samples, links, light, dark and on a telephone");
