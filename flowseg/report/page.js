const flowseg = (() => {
  const $ = (id) => document.getElementById(id);

  // ---- the list ---------------------------------------------------------------------------------------------

  const SCORED = ROWS.some((row) => row.score !== undefined);
  const ORDERS = { // title, what to sort by, whether there is such; the first is what the page opens with
    worst: ["Worst first", (row) => row.score ?? 2, SCORED],
    best: ["Best first", (row) => -(row.score ?? -1), SCORED],
    given: ["In order", () => 0, !SCORED],
    name: ["By name", null, true],
    most: ["Most cells first", (row) => -(row.count ?? -1), true],
    fewest: ["Fewest cells first", (row) => row.count ?? Number.MAX_VALUE, true],
    largest: ["Largest cells first", (row) => -(row.diameter ?? 0), ROWS.some((row) => row.diameter)],
    smallest: ["Smallest cells first", (row) => row.diameter ?? Number.MAX_VALUE, ROWS.some((row) => row.diameter)],
  };
  const SHOWN = {
    all: ["All images", () => true],
    noted: ["With remarks", (row) => row.notes && row.notes.length],
    empty: ["Without cells", (row) => row.count === 0],
    failed: ["Failed", (row) => row.status === "failed"],
  };
  const names = new Intl.Collator(undefined, { numeric: true });
  const GROUPS = [...new Set(ROWS.map((row) => row.group || ""))].sort(names.compare);
  let listed = [], open = -1;

  const option = (select, value, text) => select.append(make("option", { value }, text));

  function arrange() {
    const [, key] = ORDERS[$("order").value], keep = SHOWN[$("show").value][1];
    const text = $("find").value.trim().toLowerCase(), group = $("group").value;
    listed = ROWS.filter((row) => keep(row) && row.name.toLowerCase().includes(text) && (!group || row.group === group));
    if (key === null) listed.sort((a, b) => names.compare(a.name, b.name));
    else listed.sort((a, b) => key(a) - key(b));
    $("list").replaceChildren(...listed.map(card));
    const all = ROWS.length === 1 ? "1 image" : `${ROWS.length} images`;
    $("shown").textContent = listed.length === ROWS.length ? all : `${listed.length} of ${all}`;
    draw();
  }

  function draw() { // what is listed, by group unless there are too many
    const split = GROUPS.length > 1 && GROUPS.length <= charts.most && !$("group").value;
    const groups = split ? GROUPS : [""], series = split ? GROUPS.map((group) => listed.filter((row) => (row.group || "") === group)) : [listed];
    const titles = groups.map((group) => group || "without a group");
    charts.diameters($("diameters"), series, titles);
    charts.counts($("counts"), series, titles);
    charts.legend($("groups"), series, titles);
  }

  function card(row, place) {
    const facts = [];
    if (row.count !== undefined) facts.push(cells(row.count));
    if (row.score !== undefined) facts.push(`mAP ${row.score.toFixed(3)}`);
    else if (row.diameter) facts.push(`⌀ ${row.diameter.toFixed(1)} px`);
    const text = make("div", {}, make("b", { title: row.name }, row.name), make("small", {}, facts.join(" · ")));
    if (row.group && !row.name.startsWith(`${row.group}/`)) text.append(make("small", {}, row.group));
    if (row.error) text.append(make("small", { class: "bad clip", title: row.error }, row.error));
    else if (row.notes && row.notes.length) text.append(make("small", { class: "clip", title: row.notes.join("\n") }, row.notes[0]));
    const picture = row.thumb ? make("img", { src: row.thumb, alt: "", loading: "lazy" }) : make("span", { class: "none" }, row.error ? "failed" : "no picture");
    const made = make("button", { class: "card", type: "button" }, picture, text);
    made.addEventListener("click", () => show(place));
    return made;
  }

  // ---- one image --------------------------------------------------------------------------------------------

  const KINDS = { found: "#00d6ff", true: "#ffc400", missed: "#ff3020", spurious: "#ff50ff", split: "#00e650", merged: "#5a78ff" };
  const LAYERS = [
    ["image", "Image", "i"], ["probability", "Probability", "p"], ["flows", "Flows", "f"],
    ["lines", "Outlines", "o"], ["filled", "Labels", "l"], ["truth", "Truth", "t"],
  ];
  const PICTURES = ["flows", "probability", "image"];
  const on = { image: true, lines: true, truth: true };
  let current = null, box = null, whole = null, across = 1; // the view; its part that is seen; all; that in pixels

  function colour(place, kind, stained) { // yellow to cyan stand out on stained tissue
    if (kind) return KINDS[kind] || "#fff";
    const turn = (place * 222.5) % 360;
    return `hsl(${stained ? 47 + 0.4 * turn : turn} 90% ${stained ? 55 : 62}%)`;
  }

  function shapes(id, found, stained) {
    const group = make("g", { id });
    found.paths.forEach((d, place) => {
      const own = colour(place, found.kinds[place], stained);
      const path = make("path", { d, stroke: own, fill: own });
      path.dataset.place = place;
      group.append(path);
    });
    return group;
  }

  function show(place) {
    open = place;
    const row = listed[place];
    address(row);
    if (!$("viewer").open) $("viewer").showModal();
    $("name").textContent = row.name;
    $("previous").disabled = place === 0;
    $("next").disabled = place === listed.length - 1;
    $("picture").replaceChildren();
    $("tip").hidden = true;
    $("wheel").hidden = true;
    current = null;
    describe(row);
    if (!row.view) { $("wait").textContent = row.error || "There is nothing to show."; layers(); return; }
    $("wait").textContent = "…";
    const script = make("script", { src: row.view });
    script.addEventListener("error", () => { if (listed[open] === row) $("wait").textContent = `The file ${decoded(row.view)} is not beside this page.`; });
    script.addEventListener("load", () => script.remove());
    document.body.append(script);
  }

  // The address names the image that is open: so the button of the browser leads back to the list, and links work.
  const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  const encoded = (text) => encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, "\ufffd")); // halves of a pair cannot be
  let came = false; // from the list of this page

  function address(row) {
    const hash = `#${encoded(row.name)}`;
    if (location.hash === hash) return;
    if ($("viewer").open) location.replace(hash);
    else { came = true; location.hash = hash; }
  }

  function arrive() {
    const hash = location.hash.slice(1);
    if (hash && $("viewer").open && encoded(listed[open].name) === hash) return;
    const place = hash ? listed.findIndex((row) => encoded(row.name) === hash) : -1;
    if (place >= 0) show(place);
    else if ($("viewer").open) $("viewer").close();
  }

  function closed() {
    const card = $("list").children[open];
    if (location.hash.length > 1) { if (came) history.back(); else location.replace("#"); }
    came = false;
    if (card) { card.scrollIntoView({ block: "nearest" }); card.focus(); }
  }

  function describe(row) {
    const facts = { ...(row.facts || {}) };
    if (row.count !== undefined) facts["cells"] = row.count;
    if (row.size) facts["pixels"] = `${row.size[0]} × ${row.size[1]}`;
    if (row.diameter) facts["diameter used"] = `${row.diameter.toFixed(1)} px`;
    if (row.group) facts["group"] = row.group;
    $("about").replaceChildren(...Object.entries(facts).map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(text)))));
    const notes = (row.notes || []).map((note) => make("li", {}, note));
    if (row.error) notes.unshift(make("li", { class: "bad" }, row.error));
    $("notes").replaceChildren(...notes);
    $("own").hidden = !row.count;
    charts.diameters($("own-diameters"), [[row]]);
    $("more").replaceChildren();
    $("kinds").replaceChildren();
  }

  function view(found) {
    const row = listed[open];
    if (!row || row.name !== found.name) return; // another one was asked for in the meantime
    current = found;
    $("wait").textContent = "";
    const [width, height] = found.size;
    const picture = $("picture");
    picture.setAttribute("aria-label", `${found.name}: ${cells(found.cells.all)}`);
    for (const name of PICTURES) {
      if (found.layers[name]) picture.append(make("image", { id: `layer-${name}`, href: found.layers[name], width, height, preserveAspectRatio: "none" }));
    }
    if (found.truth) picture.append(shapes("truth", found.truth, found.stained));
    picture.append(shapes("cells", found.cells, found.stained));
    if (found.cells.all > found.cells.paths.length) $("notes").append(make("li", {}, `Outlines of the first ${found.cells.paths.length} of ${found.cells.all} cells are drawn.`));
    $("kinds").replaceChildren(...[[found.truth, true], [found.cells, false]].flatMap(([from, dashed]) => from ? legend(from, dashed) : []));
    for (const [title, source] of Object.entries(found.more)) $("more").append(make("figure", {}, make("figcaption", {}, title), make("img", { src: source, alt: title })));
    layers();
    fit();
  }

  function legend(from, dashed) {
    const counts = new Map();
    for (const kind of from.kinds) counts.set(kind, (counts.get(kind) || 0) + 1);
    return [...counts].map(([kind, count]) => make("li", { class: dashed ? "dashed" : "", style: `--own: ${colour(0, kind)}` }, `${kind} (${count})`));
  }

  function has(name) {
    if (!current) return false;
    if (name === "truth") return Boolean(current.truth);
    return name === "lines" || name === "filled" || name in current.layers;
  }

  function pictured() { // the picture below the outlines; the image where another one was wanted and is not there
    return PICTURES.find((name) => on[name] && name in current.layers) || (on.flows || on.probability ? "image" : "");
  }

  function layers() {
    const there = LAYERS.filter(([name]) => has(name));
    if (there.map(([name]) => name).join() !== [...$("layers").children].map((button) => button.dataset.layer).join()) {
      $("layers").replaceChildren(...there.map(button)); // only then: a button that is pressed keeps the focus
    }
    if (!current) return;
    const picture = pictured();
    for (const name of PICTURES) if (name in current.layers) $(`layer-${name}`).style.display = name === picture ? "" : "none";
    for (const made of $("layers").children) {
      const name = made.dataset.layer;
      made.setAttribute("aria-pressed", String(PICTURES.includes(name) ? name === picture : Boolean(on[name])));
    }
    $("cells").setAttribute("class", `${on.lines ? "lines" : ""} ${on.filled ? "filled" : ""}`);
    if ($("truth")) $("truth").setAttribute("class", on.truth ? "lines" : "");
    $("wheel").hidden = picture !== "flows";
  }

  function button([name, title, key]) {
    const at = title.toLowerCase().indexOf(key);
    const made = make("button", { title: `${title} (${key})`, "data-layer": name }, title.slice(0, at), make("u", {}, title[at]), title.slice(at + 1));
    made.addEventListener("click", () => toggle(name));
    return made;
  }

  function toggle(name) {
    if (PICTURES.includes(name)) { // one picture at a time; switched off, flows and probability give way to the image
      const picture = pictured();
      for (const other of PICTURES) on[other] = false;
      on[picture === name ? "image" : name] = picture !== name || name !== "image";
    } else on[name] = !on[name];
    layers();
  }

  // ---- zoom, drag, hover --------------------------------------------------------------------------------------

  function fit(keep = false) { // all of it; or what is seen now, in a window that has changed
    const [width, height] = current.size, stage = $("stage").getBoundingClientRect();
    const scale = Math.max(width / stage.width, height / stage.height);
    const before = whole, centre = box && [box.x + box.w / 2, box.y + box.h / 2];
    whole = { x: (width - stage.width * scale) / 2, y: (height - stage.height * scale) / 2, w: stage.width * scale, h: stage.height * scale };
    if (!keep || !box || box.w === before.w) return place({ ...whole });
    const w = stage.width * box.w / across, h = stage.height * box.w / across;
    place({ x: centre[0] - w / 2, y: centre[1] - h / 2, w, h });
  }

  function place(to) {
    const most = 40 * whole.w / Math.max(...current.size, 1);
    const scale = Math.min(Math.max(to.w, whole.w / Math.max(8, 40, most)), whole.w * 1.2) / to.w;
    const centre = [to.x + to.w / 2, to.y + to.h / 2];
    to.w *= scale; to.h *= scale;
    const inside = (value, size) => Math.min(Math.max(value, 0), size);
    box = { w: to.w, h: to.h, x: inside(centre[0], current.size[0]) - to.w / 2, y: inside(centre[1], current.size[1]) - to.h / 2 };
    across = $("stage").clientWidth;
    $("picture").setAttribute("viewBox", `${box.x} ${box.y} ${box.w} ${box.h}`);
  }

  function zoom(factor, x, y) {
    if (!current) return;
    if (!factor) return fit();
    const stage = $("stage").getBoundingClientRect();
    const part = [((x ?? stage.left + stage.width / 2) - stage.left) / stage.width, ((y ?? stage.top + stage.height / 2) - stage.top) / stage.height];
    const w = box.w / factor, h = box.h / factor;
    place({ x: box.x + (box.w - w) * part[0], y: box.y + (box.h - h) * part[1], w, h });
  }

  const fingers = new Map();
  let dragged = false;

  function down(event) {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    dragged = false;
  }

  function move(event) {
    const before = fingers.get(event.pointerId);
    if (!before || !current) return hover(event);
    const stage = $("stage").getBoundingClientRect(), now = [event.clientX, event.clientY];
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(apart(now) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (Math.hypot(now[0] - before[0], now[1] - before[1]) > 2 || dragged) {
      place({ ...box, x: box.x - (now[0] - before[0]) * box.w / stage.width, y: box.y - (now[1] - before[1]) * box.h / stage.height });
    } else return;
    dragged = true;
    fingers.set(event.pointerId, now);
    $("tip").hidden = true;
  }

  function up(event) {
    fingers.delete(event.pointerId);
    if (!dragged) hover(event);
  }

  function hover(event) {
    const path = event.target.closest && event.target.closest("#cells path, #truth.lines path");
    if (path && current) tell(path, event.clientX, event.clientY);
    else untell();
  }

  function untell() {
    document.querySelectorAll("#picture path.here").forEach((path) => path.classList.remove("here"));
    $("tip").hidden = true;
  }

  function tell(path, clientX, clientY) {
    untell();
    path.classList.add("here");
    const number = Number(path.dataset.place), rows = make("table"), own = path.parentNode.id === "cells";
    const add = (name, value) => rows.append(make("tr", {}, make("td", {}, name), make("td", {}, String(value))));
    const kind = (own ? current.cells : current.truth).kinds[number];
    if (kind) add("", kind);
    if (own && current.columns.length) current.columns.forEach((column, at) => add(column.replaceAll("_", " "), current.rows[number][at] ?? "–"));
    else add(own ? "cell" : "true cell", number + 1);
    const tip = $("tip"), stage = $("stage").getBoundingClientRect();
    tip.replaceChildren(rows);
    tip.hidden = false;
    const x = clientX - stage.left, y = clientY - stage.top;
    tip.style.left = `${Math.max(4, Math.min(x + 16 + tip.offsetWidth > stage.width ? x - tip.offsetWidth - 12 : x + 16, stage.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 12, stage.height - tip.offsetHeight - 4))}px`;
  }

  function step(by) { // to the next cell, which is brought into sight
    const paths = $("cells") ? $("cells").children : [];
    if (!paths.length) return;
    const here = $("cells").querySelector(".here"), at = here ? Number(here.dataset.place) + by : by > 0 ? 0 : -1;
    const path = paths[(at + paths.length) % paths.length], own = path.getBBox();
    const x = own.x + own.width / 2, y = own.y + own.height / 2;
    if (x < box.x || x > box.x + box.w || y < box.y || y > box.y + box.h) place({ ...box, x: x - box.w / 2, y: y - box.h / 2 });
    const seen = path.getBoundingClientRect();
    tell(path, seen.right - 12, seen.top + seen.height / 2);
  }

  // ---- keys and beginnings ------------------------------------------------------------------------------------

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!$("viewer").open) {
      if (event.key === "/" && event.target !== $("find")) { event.preventDefault(); $("find").focus(); }
      return;
    }
    const layer = LAYERS.find(([name, , letter]) => letter === event.key.toLowerCase() && has(name));
    if (layer) toggle(layer[0]);
    else if (event.key.toLowerCase() === "n") step(event.shiftKey ? -1 : 1);
    else if (event.key === "ArrowRight" && open < listed.length - 1) show(open + 1);
    else if (event.key === "ArrowLeft" && open > 0) show(open - 1);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(0);
    else return;
    event.preventDefault();
  }

  function theme(value) {
    if (value) document.documentElement.dataset.theme = value;
    try { if (value) localStorage.setItem("flowseg-theme", value); else return localStorage.getItem("flowseg-theme"); } catch { /* not from a disk */ }
    return null;
  }

  function begin() {
    for (const [name, [title, , there]] of Object.entries(ORDERS)) if (there) option($("order"), name, title);
    for (const [name, [title, keep]] of Object.entries(SHOWN)) {
      const count = ROWS.filter(keep).length;
      if (name === "all" || count) option($("show"), name, name === "all" ? title : `${title} (${count})`);
    }
    const groups = GROUPS.filter(Boolean);
    if (groups.length) { option($("group"), "", "All groups"); groups.forEach((group) => option($("group"), group, group)); $("group").hidden = false; }
    for (const id of ["order", "show", "group"]) $(id).addEventListener("change", arrange);
    $("find").addEventListener("input", arrange);
    $("previous").addEventListener("click", () => show(open - 1));
    $("next").addEventListener("click", () => show(open + 1));
    $("back").addEventListener("click", () => $("viewer").close());
    $("viewer").addEventListener("close", closed);
    addEventListener("hashchange", arrive);
    const stage = $("stage");
    stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX, event.clientY); }, { passive: false });
    $("picture").addEventListener("pointerdown", down);
    $("picture").addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, up);
    $("picture").addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") untell(); }); // a finger leaves with each tap
    document.querySelectorAll("#zoom button").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
    window.addEventListener("keydown", key);
    window.addEventListener("resize", () => {
      draw();
      if (current && $("viewer").open) fit(true);
    });
    theme(theme());
    $("theme").addEventListener("click", () => {
      const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      theme(dark ? "light" : "dark");
    });
    charts.wheel($("wheel"));
    arrange();
    arrive();
  }

  addEventListener("DOMContentLoaded", begin);
  return { view };
})();
