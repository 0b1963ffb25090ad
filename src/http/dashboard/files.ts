import index from "./index.html" with { type: "text" };
import api from "./api.js" with { type: "text" };
import audit from "./audit.js" with { type: "text" };
import chart from "./chart.js" with { type: "text" };
import charts from "./charts.js" with { type: "text" };
import deadLetters from "./dead_letters.js" with { type: "text" };
import diff from "./diff.js" with { type: "text" };
import format from "./format.js" with { type: "text" };
import generations from "./generations.js" with { type: "text" };
import groupPanel from "./group_panel.js" with { type: "text" };
import instance from "./instance.js" with { type: "text" };
import json from "./json.js" with { type: "text" };
import keys from "./keys.js" with { type: "text" };
import letter from "./letter.js" with { type: "text" };
import letterActions from "./letter_actions.js" with { type: "text" };
import libraries from "./libraries.js" with { type: "text" };
import list from "./list.js" with { type: "text" };
import live from "./live.js" with { type: "text" };
import log from "./log.js" with { type: "text" };
import login from "./login.js" with { type: "text" };
import looks from "./looks.js" with { type: "text" };
import main from "./main.js" with { type: "text" };
import message from "./message.js" with { type: "text" };
import notices from "./notices.js" with { type: "text" };
import overview from "./overview.js" with { type: "text" };
import pager from "./pager.js" with { type: "text" };
import parked from "./parked.js" with { type: "text" };
import parts from "./parts.js" with { type: "text" };
import processes from "./processes.js" with { type: "text" };
import projections from "./projections.js" with { type: "text" };
import resource from "./resource.js" with { type: "text" };
import router from "./router.js" with { type: "text" };
import row from "./row.js" with { type: "text" };
import rows from "./rows.js" with { type: "text" };
import schedule from "./schedule.js" with { type: "text" };
import screen from "./screen.js" with { type: "text" };
import stream from "./stream.js" with { type: "text" };
import trace from "./trace.js" with { type: "text" };
import traceLines from "./trace_lines.js" with { type: "text" };
import warnings from "./warnings.js" with { type: "text" };
import baseCss from "./base.css" with { type: "text" };
import layoutCss from "./layout.css" with { type: "text" };
import partsCss from "./parts.css" with { type: "text" };
import viewsCss from "./views.css" with { type: "text" };
import listsCss from "./lists.css" with { type: "text" };
import lit from "lit-html" with { type: "text" };
import litHelpers from "lit-html/directive-helpers.js" with { type: "text" };
import litDirective from "lit-html/directive.js" with { type: "text" };
import litLive from "lit-html/directives/live.js" with { type: "text" };
import litRepeat from "lit-html/directives/repeat.js" with { type: "text" };
import uplot from "uplot/dist/uPlot.esm.js" with { type: "text" };
import uplotCss from "uplot/dist/uPlot.min.css" with { type: "text" };

/** The page. */
export const INDEX: string = index;

/** What runs in the browser. */
export const MODULES: Readonly<Record<string, string>> = {
  "api.js": api,
  "audit.js": audit,
  "chart.js": chart,
  "charts.js": charts,
  "dead_letters.js": deadLetters,
  "diff.js": diff,
  "format.js": format,
  "generations.js": generations,
  "group_panel.js": groupPanel,
  "instance.js": instance,
  "json.js": json,
  "keys.js": keys,
  "letter.js": letter,
  "letter_actions.js": letterActions,
  "libraries.js": libraries,
  "list.js": list,
  "live.js": live,
  "log.js": log,
  "login.js": login,
  "looks.js": looks,
  "main.js": main,
  "message.js": message,
  "notices.js": notices,
  "overview.js": overview,
  "pager.js": pager,
  "parked.js": parked,
  "parts.js": parts,
  "processes.js": processes,
  "projections.js": projections,
  "resource.js": resource,
  "router.js": router,
  "row.js": row,
  "rows.js": rows,
  "schedule.js": schedule,
  "screen.js": screen,
  "stream.js": stream,
  "trace.js": trace,
  "trace_lines.js": traceLines,
  "warnings.js": warnings,
};

/** How it looks. */
export const STYLES: Readonly<Record<string, string>> = {
  "base.css": baseCss,
  "layout.css": layoutCss,
  "parts.css": partsCss,
  "views.css": viewsCss,
  "lists.css": listsCss,
};

/** Files of packages, as they are in them. */
export const PACKAGES: Readonly<Record<string, string>> = {
  "lit-html.js": lit,
  "directive-helpers.js": litHelpers,
  "directive.js": litDirective,
  "directives/live.js": litLive,
  "directives/repeat.js": litRepeat,
  "uPlot.esm.js": uplot,
  "uPlot.min.css": uplotCss,
};
