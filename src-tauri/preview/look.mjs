// Pictures of every screen, without the app: index.html in headless Chromium with a stand-in for the shell that sends it
// the views of views.json. A tool for whoever changes the page; nothing of it is in the app.
//   node src-tauri/preview/look.mjs OUTPUT-FOLDER [NAME-PATTERN] [WIDTHxHEIGHT,...] [light,dark]

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [out, pattern = "", sizes = "360x720,900x720", schemes = "light,dark"] = process.argv.slice(2);
if (!out) throw new Error("name a folder for the pictures");
const ui = new URL("../../ui/", import.meta.url);
const page = readFileSync(new URL("index.html", ui), "utf8");
const views = JSON.parse(readFileSync(new URL("views.json", import.meta.url), "utf8"));
const work = mkdtempSync(join(tmpdir(), "look-"));
mkdirSync(out, { recursive: true });

for (const [name, view] of Object.entries(views).filter(([name]) => new RegExp(pattern).test(name))) {
  for (const size of sizes.split(",")) {
    const [width, height] = size.split("x").map(Number);
    for (const scheme of schemes.split(",")) {
      // A frame, because a headless window is never narrower than 500 pixels.
      writeFileSync(join(work, "inner.html"), page.replace("<head>", `<head>${standIn(view)}`));
      const frame = `<style>body{margin:0}iframe{border:0;width:${width}px;height:${height}px}</style><iframe src="inner.html">`;
      writeFileSync(join(work, "outer.html"), `<!doctype html>${frame}`);
      execFileSync("chromium", [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        ...["--allow-file-access-from-files", "--hide-scrollbars", "--virtual-time-budget=1500"],
        ...(scheme === "dark" ? ["--blink-settings=preferredColorScheme=0"] : []),
        `--user-data-dir=${join(work, "profile")}`,
        `--window-size=${Math.max(width, 500)},${height}`,
        `--screenshot=${resolve(out, `${name}-${width}-${scheme}.png`)}`,
        `file://${join(work, "outer.html")}`,
      ], { stdio: "ignore" });
    }
  }
}
rmSync(work, { recursive: true });

function standIn(view) {
  const json = JSON.stringify(view).replaceAll("<", "\\u003c");
  return `<base href="${ui}"><script>
    const heard = {};
    window.__TAURI_INTERNALS__ = {
      metadata: { currentWindow: { label: "main" } },
      transformCallback: (callback) => callback,
      invoke: async (command, args) => {
        if (command === "plugin:event|listen") heard[args.event] = args.handler;
        if (command !== "page_ready") return;
        heard.view({ payload: ${json} });
        // Folded parts are looked at open.
        if (${view.screen.name === "trial"}) document.getElementById("trial-paths").open = true;
        if (${view.screen.name === "in-call" && view.report?.saved !== null}) document.getElementById("details").open = true;
        if (${view.sound !== null || view.screen.speak === true}) heard.level({ payload: { input: 0.6, output: 0.5 } });
      },
    };
  </script>`;
}
