"use strict";
// The page: what is dropped is sent to a function of this server, and what comes back is shown. No other host is asked.

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const { dataset, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset ?? {});
  made.append(...children);
  return made;
};
const LEVELS = { weak: "10/255", medium: "25/255", strong: "50/255" };
const state = { table: null, words: {}, language: "en", given: null, task: null, job: null, abort: null };

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (token) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname); // so that it is in no bookmark
}
const ask = (path, options = {}) =>
  fetch(path, { ...options, headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers } });

function say(word, values = {}) {
  const text = state.words[state.language]?.[word] ?? state.words.en?.[word] ?? word;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
const titleOf = (task) => state.words[state.language]?.[`task:${task.name}`] ?? task.name;
const aboutOf = (task) => state.words[state.language]?.[`about:${task.name}`] ?? task.about;

function speak(language) {
  state.language = language;
  localStorage.setItem("language", language);
  document.documentElement.lang = language;
  $("language").value = language;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = say(one.dataset.word);
  if (state.given) offer();
}

// ---- what is given

function kindsOf(name) {
  const rows = Object.entries(state.table.modalities);
  return rows.filter(([, row]) => row.suffixes.some((end) => name.toLowerCase().endsWith(end))).map(([kind]) => kind);
}

function give(given) {
  if (state.given?.url) URL.revokeObjectURL(state.given.url);
  $("result").hidden = true;
  $("error").textContent = $("status").textContent = "";
  const kinds = given.text === undefined ? kindsOf(given.file.name) : ["text"];
  state.given = { ...given, kinds, name: given.text ?? given.file.name };
  if (!kinds.length) {
    const known = Object.values(state.table.modalities).flatMap((row) => row.suffixes);
    $("given").textContent = say("unknown", { name: state.given.name, kinds: [...new Set(known)].join(" ") });
    $("choose").hidden = $("same").hidden = true;
    state.given = null;
    return;
  }
  if (given.file) state.given.url = URL.createObjectURL(given.file);
  state.task = null;
  offer();
}

function offer() {
  $("given").textContent = say("given", { name: state.given.name });
  const fitting = state.table.functions.filter((one) => one.accepts.some((kind) => state.given.kinds.includes(kind)));
  const ready = (task) => 2 * task.restores - task.files.length; // what restores comes first, and what needs no other file
  fitting.sort((a, b) => ready(b) - ready(a));
  const chosen = fitting.find((one) => one.name === state.task?.name) ?? fitting[0];
  $("tasks").replaceChildren(...fitting.map((task) => {
    const radio = make("input", { type: "radio", name: "task", value: task.name, checked: task === chosen });
    radio.addEventListener("change", () => choose(task));
    return make("label", {}, radio, make("span", {}, make("b", { textContent: titleOf(task) }), make("small", { textContent: aboutOf(task) })));
  }));
  $("choose").hidden = false;
  choose(chosen);
}

// ---- options

function choose(task) {
  state.task = task;
  const easy = [], all = [];
  const properties = Object.entries(task.schema.properties).filter(([name]) => name !== "input" && name !== task.slots);
  for (const [name, schema] of properties) {
    const needed = task.schema.required.includes(name);
    (needed || task.files.includes(name) || ["language", "speaker", "style", "scale", "samples"].includes(name) ? easy : all).push(field(name, schema, task, needed));
  }
  if (task.schema.properties.sigma && picturesOnly()) {
    const select = make("select", { id: "strength" }, ...["auto", ...Object.keys(LEVELS)].map((word) => make("option", { value: LEVELS[word] ?? "", textContent: say(word) })));
    select.addEventListener("change", () => { $("option-sigma").value = select.value; lines(); });
    if (task.name === "denoise") easy.unshift(make("label", { htmlFor: "strength", textContent: say("strength") }, select));
  }
  if (task.schema.properties.interval) {
    const box = make("input", { type: "checkbox", id: "bars" });
    box.addEventListener("change", () => { $("option-interval").value = box.checked ? "0.9" : ""; lines(); });
    easy.push(make("label", { htmlFor: "bars" }, box, ` ${say("bars")}`));
  }
  $("easy").replaceChildren(...easy);
  $("options").replaceChildren(...all);
  lines();
}
const picturesOnly = () => state.given.kinds.every((kind) => state.table.modalities[kind].pictured);

function field(name, schema, task, needed) {
  const id = `option-${name}`;
  const kinds = (schema.anyOf ?? [schema]).map((one) => one.type);
  let input;
  if (task.files.includes(name)) input = make("input", { id, type: "file" });
  else if (kinds.includes("boolean")) input = make("input", { id, type: "checkbox", checked: schema.default === true });
  else {
    const isNumber = !kinds.includes("string") && (kinds.includes("integer") || kinds.includes("number"));
    input = make("input", { id, type: isNumber ? "number" : "text", required: needed, autocomplete: "off", value: schema.default ?? "" });
    if (isNumber) input.step = kinds.includes("number") ? "any" : "1";
  }
  input.dataset.option = name;
  input.addEventListener("input", lines);
  const label = make("label", { htmlFor: id }, `${state.words[state.language]?.[`option:${name}`] ?? name.replaceAll("_", " ")} `, input);
  if (schema.description && state.language === "en") label.append(make("small", { textContent: schema.description }));
  return label;
}

function chosenOptions() {
  const values = {};
  for (const input of $("form").querySelectorAll("[data-option]")) {
    const name = input.dataset.option, schema = state.task.schema.properties[name];
    const value = input.type === "checkbox" ? input.checked : input.type === "file" ? input.files[0] : input.value.trim();
    if (value !== undefined && value !== "" && String(value) !== String(schema.default ?? (input.type === "checkbox" ? false : ""))) values[name] = value;
  }
  return values;
}

// ---- the same in other ways

const quoted = (text) => (/^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const inPython = (value) => (value === true ? "True" : value instanceof File ? JSON.stringify(value.name) : /^-?\d+(\.\d+)?$/.test(value) ? value : JSON.stringify(value));

function lines() {
  const { task, given } = state, options = chosenOptions();
  const kind = given.kinds.find((one) => task.accepts.includes(one));
  const written = given.text === undefined ? given.file.name : given.text;
  const end = { image: ".png", audio: ".wav" }[task.restores ? kind : task.gives] ?? (task.restores ? written.slice(written.indexOf(".")) : "");
  const flag = (name) => task.flags[name] ?? `--${name.replaceAll("_", "-")}`;
  const named = Object.entries(options).map(([name, value]) => [name, value instanceof File ? value.name : value]);
  const flags = named.map(([name, value]) => (value === true ? flag(name) : `${flag(name)} ${quoted(String(value))}`));
  $("shell").textContent = ["vqfusion", task.name, quoted(written), ...flags, end ? `-o ${quoted(task.name + end)}` : ""].filter(Boolean).join(" ");
  const sampling = ["samples", "seed", "steps"].filter((name) => options[name]).map((name) => `${name}=${options[name]}`);
  const own = Object.entries(options).filter(([name]) => !["samples", "seed", "steps", "model"].includes(name)).map(([name, value]) => `${name}=${inPython(value)}`);
  const sample = given.text === undefined ? `vqfusion.read(${JSON.stringify(written)}${task.restores ? ", keep=True" : ""})` : `vqfusion.Sample("text", ${JSON.stringify(written)})`;
  $("python").textContent = [
    "import vqfusion", "from vqfusion.tasks import TASKS", "",
    `model = vqfusion.load(${JSON.stringify(options.model ?? task.models[kind])})`,
    `answer = TASKS[${JSON.stringify(task.name)}](${own.join(", ")})(model, ${sample}${sampling.length ? `, vqfusion.Sampling(${sampling.join(", ")})` : ""})`,
    end ? `answer.samples[0][0].save(${JSON.stringify(task.name + end)})` : task.gives === "label" ? "print(answer.distributions[0])" : "print(answer.samples[0][0].data)",
  ].join("\n");
  const parts = [given.text === undefined ? `input=@${written}` : `input=${written}`];
  for (const [name, value] of Object.entries(options)) parts.push(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`);
  if (end) parts.push("response_format=file");
  $("http").textContent = ["curl", ...(token ? ['-H "Authorization: Bearer $VQFUSION_TOKEN"'] : []), ...parts.map((part) => `-F ${quoted(part)}`), `${location.origin}/v1/${task.name}`, end ? `-o ${quoted(task.name + end)}` : ""].filter(Boolean).join(" ");
  $("same").hidden = false;
}

// ---- work

async function run(event) {
  event.preventDefault();
  $("error").textContent = "";
  $("result").hidden = true;
  const form = new FormData();
  form.append("input", state.given.text ?? state.given.file);
  for (const [name, value] of Object.entries(chosenOptions())) form.append(name, value);
  form.append("stream", "true");
  form.append("preview", "true");
  busy(true);
  state.abort = new AbortController();
  try {
    const response = await ask(`v1/${state.task.name}`, { method: "POST", body: form, signal: state.abort.signal });
    if (!response.ok) throw new Error((await response.json()).error.message);
    let ended = false;
    for await (const [name, data] of events(response.body)) {
      if (name === "queued") { state.job = data.job; $("status").textContent = say("waiting", { count: data.waiting }); }
      if (name === "progress") { $("bar").value = data.fraction; $("status").textContent = say("working", { percent: Math.round(100 * data.fraction) }); }
      if (name === "result") { ended = true; await show(data); }
      if (name === "error") { ended = true; throw new Error(data.error.message); }
    }
    if (!ended) throw new TypeError("lost");
  } catch (error) {
    const stopped = error.name === "AbortError" || error.message === "cancelled";
    $("status").textContent = stopped ? say("cancelled") : "";
    if (!stopped) $("error").textContent = error instanceof TypeError ? say("lost") : error.message;
  } finally {
    busy(false);
  }
}

function busy(is) {
  $("run").disabled = is;
  $("cancel").disabled = !is;
  $("bar").hidden = !is;
  $("bar").value = 0;
}

function cancel() {
  if (state.job) ask(`v1/jobs/${state.job}`, { method: "DELETE" }).catch(() => {});
  state.abort?.abort();
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part)?.[1], data = /^data: (.*)$/m.exec(part)?.[1];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

// ---- results

const SHOWN = ["png", "jpeg", "webp", "avif", "bmp", "gif"].map((form) => `image/${form}`); // by browsers

async function show(answer) {
  const box = $("answer"), item = answer.items[0];
  box.replaceChildren();
  const lines = [...new Set([...answer.warnings, ...item.warnings])];
  for (const line of lines) box.append(make("p", { className: "warn", textContent: line }));
  if (item.texts) for (const text of item.texts) box.append(make("p", { className: "texts", textContent: text }));
  if (item.distribution) box.append(...Object.entries(item.distribution).map(bar));
  const files = (item.outputs ?? []).map((file) => ({ ...file, url: urlOf(file) }));
  const pictured = files.filter((file) => SHOWN.includes(file.media_type));
  if (pictured.length) {
    const before = SHOWN.includes(state.given.file?.type) ? state.given.url : null;
    for (const file of pictured) box.append(before ? await slider(before, file, pictured.length === 1 ? item : {}) : make("img", { src: file.url, alt: `${answer.task}: ${state.given.name}` }));
  } else if (files.length) {
    const pair = make("div", { className: "pair" });
    const heard = files[0].media_type.startsWith("audio/");
    if (heard && state.given.kinds.includes("audio")) pair.append(titled("before", player(state.given.url, "before")));
    if (!heard && item.before) pair.append(titled("before", drawn(item.before)));
    files.forEach((file, i) => pair.append(titled("after", heard ? player(file.url, "after") : drawn(item.after[i]))));
    box.append(pair);
  }
  if (item.measured_coverage) box.append(make("p", { className: "about", textContent: say("coverage", { coverage: 100 * item.coverage, where: item.measured_on, measured: (100 * item.measured_coverage).toFixed(1) }) }));
  const ends = [item.lower, item.upper].filter(Boolean).map((file) => ({ ...file, url: urlOf(file) }));
  for (const file of [...files, ...ends]) box.append(make("a", { className: "button", href: file.url, download: file.name, textContent: say("download", { name: file.name }) }));
  $("result").hidden = false;
  $("status").textContent = say("finished", { seconds: answer.seconds, model: answer.model });
  $("made").focus();
}

const urlOf = (file) => URL.createObjectURL(new Blob([Uint8Array.from(atob(file.base64), (c) => c.charCodeAt(0))], { type: file.media_type }));
const titled = (word, part) => make("div", {}, make("h3", { textContent: say(word) }), part);
const player = (url, word) => { const made = make("audio", { src: url, controls: true }); made.setAttribute("aria-label", say(word)); return made; };
const drawn = (html) => make("div", { className: "shown", innerHTML: html }); // made by this server, with names escaped

function bar([name, p]) {
  const made = make("div", { className: "bar" }, make("span", { textContent: name }), make("span", { textContent: `${(100 * p).toFixed(1)} %` }));
  made.style.setProperty("--p", `${100 * p}%`);
  return made;
}

const loaded = (url) => new Promise((done, failed) => { const image = new Image(); image.onload = () => done(image); image.onerror = failed; image.src = url; });

function pixels(image) {
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function slider(before, file, item) {
  const after = await loaded(file.url);
  const over = make("img", { className: "over", src: before, alt: say("before") });
  after.alt = say("after");
  const compare = make("div", { className: `compare${after.naturalWidth < 400 ? " detail" : ""}` }, after, over);
  const range = make("input", { type: "range", className: "slide", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", say("slider"));
  const move = () => compare.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", move);
  move();
  const box = make("div", {}, compare, range);
  if (item.lower && item.upper) {
    const [lower, middle, upper] = await Promise.all([item.lower, file, item.upper].map(async (one) => pixels(await loaded(urlOf(one)))));
    const map = uncertainty(lower, upper), shown = make("input", { type: "checkbox", id: "uncertain" });
    map.hidden = true;
    shown.addEventListener("change", () => { map.hidden = !shown.checked; });
    compare.append(map);
    const under = make("p", { className: "about", textContent: " " });
    compare.addEventListener("pointermove", (event) => {
      const place = compare.getBoundingClientRect();
      const x = Math.floor((event.clientX - place.left) / place.width * middle.width), y = Math.floor((event.clientY - place.top) / place.height * middle.height);
      const at = 4 * (Math.min(Math.max(y, 0), middle.height - 1) * middle.width + Math.min(Math.max(x, 0), middle.width - 1));
      const mean = (image) => ((image.data[at] + image.data[at + 1] + image.data[at + 2]) / 765).toFixed(3);
      under.textContent = say("value", { value: mean(middle), lower: mean(lower), upper: mean(upper) });
    });
    box.append(make("label", { htmlFor: "uncertain" }, shown, ` ${say("uncertain")}`), under);
  }
  return box;
}

function uncertainty(lower, upper) {
  const canvas = make("canvas", { width: lower.width, height: lower.height }), context = canvas.getContext("2d");
  const image = context.createImageData(lower.width, lower.height);
  const widths = Float32Array.from({ length: lower.data.length / 4 }, (_, i) => [0, 1, 2].reduce((sum, c) => sum + upper.data[4 * i + c] - lower.data[4 * i + c], 0));
  const most = widths.reduce((a, b) => Math.max(a, b), 1);
  widths.forEach((width, i) => image.data.set([255, 90, 0, 230 * width / most], 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

// ---- begin

async function begin() {
  $("language").addEventListener("change", () => speak($("language").value));
  $("file").addEventListener("change", () => $("file").files[0] && give({ file: $("file").files[0] }));
  const useText = () => $("text").value.trim() && give({ text: $("text").value.trim() });
  $("use").addEventListener("click", useText);
  $("text").addEventListener("keydown", (event) => event.key === "Enter" && useText());
  $("form").addEventListener("submit", run);
  $("cancel").addEventListener("click", cancel);
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($(button.dataset.of).textContent);
      button.textContent = say("copied");
      setTimeout(() => { button.textContent = say("copy"); }, 1500);
    });
  }
  const over = (is) => (event) => { event.preventDefault(); $("drop").classList.toggle("over", is); };
  document.addEventListener("dragover", over(true));
  document.addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => { over(false)(event); if (event.dataTransfer.files[0]) give({ file: event.dataTransfer.files[0] }); });
  try {
    state.words = await (await ask("static/words.json")).json();
    const answer = await ask("v1/functions");
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    state.table = await answer.json();
  } catch (error) {
    $("given").textContent = error instanceof TypeError ? say("lost") : error.message;
    return;
  }
  speak(localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en"));
  document.body.dataset.ready = "true";
}
begin();
