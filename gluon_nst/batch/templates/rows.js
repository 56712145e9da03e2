// One job as elements. Everything from the data goes in as text, never as HTML.

const { rows, pictures, reload } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function baseName(path) {
  return path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1) || path;
}

const thumbnailUrl = (picture) => `data:image/webp;base64,${picture.thumbnail}`;
const failed = (row) => ["failed", "poison", "timeout"].includes(row.status);
const dateText = (seconds) => new Date(seconds * 1000).toLocaleString();

// The pictures of a job, in the order in which they are shown: {label, picture}.
function picturesOf(row) {
  const styles = (row.styles || []).map((number, index, all) => {
    const weight = row.blend && row.blend.length === all.length ? ` (weight ${row.blend[index]})` : "";
    return { label: all.length > 1 ? `Style ${index + 1}${weight}` : "Style", picture: pictures[number] };
  });
  const shown = [{ label: "Content", picture: pictures[row.content] }, ...styles];
  if (row.stylized !== undefined) {
    shown.push({ label: row.aside ? "Kept aside" : "Stylized", picture: pictures[row.stylized] });
  }
  return shown;
}

function figure(entry, onOpen) {
  const { label, picture } = entry;
  const name = baseName(picture.path);
  const caption = element("figcaption", { textContent: label });
  if (!picture.thumbnail) {
    const vanished = label === "Stylized" ? "not there any more" : "file not found";
    const text = picture.problem === "file not found" ? vanished : "cannot be shown";
    return element("figure", {}, element("div", { className: "none", textContent: text, title: picture.problem }), caption);
  }
  const image = element("img", { src: thumbnailUrl(picture), alt: "", decoding: "async" });
  const button = element("button", { type: "button", className: "picture", title: picture.path, onclick: onOpen }, image);
  button.setAttribute("aria-label", `Enlarge ${label.toLowerCase()} image ${name}`);
  return element("figure", {}, button, caption);
}

function emptyFigure(row) {
  const text = failed(row) ? "no picture" : "none";
  return element("figure", {}, element("div", { className: "none", textContent: text }), element("figcaption", { textContent: "Stylized" }));
}

const lossText = (value) => Number(value.toPrecision(4)).toString();

// [term, text] pairs; a fact that is not known is left out.
function factsOf(row) {
  const facts = [];
  const add = (term, text) => text !== undefined && text !== "" && facts.push([term, text]);
  for (const [term, value] of Object.entries(row.losses || {})) {
    if (value !== null) add(`${term} loss`, lossText(value));
  }
  if (row.seconds) add("seconds", row.seconds.toFixed(row.seconds < 10 ? 2 : 1));
  if (row.steps) add("steps", String(row.steps));
  if (row.height) add("height × width", `${row.height} × ${row.width} px`);
  if (row.attempts !== 1) add("attempts", String(row.attempts));
  add("stopped by", row.stop_reason);
  add("worker", row.worker);
  if (row.finished_at) add("finished", dateText(row.finished_at));
  for (const [name, value] of Object.entries(row.changes || {})) add(name, value);
  add("notes", (row.notes || []).join("; "));
  add("kept aside", row.aside);
  return facts;
}

function factList(row) {
  const pair = ([term, text]) => element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: text }));
  return element("dl", { className: "facts" }, ...factsOf(row).map(pair));
}

function errorBlock(row) {
  if (!row.error_type && !row.error) return [];
  const type = element("strong", { textContent: row.error_type || row.status });
  return [element("p", { className: "error" }, type, ` ${row.error || ""}`)];
}

// `onOpen(shown, index)` is called when a picture is chosen.
function rowElement(row, onOpen) {
  const shown = picturesOf(row);
  const figures = shown.map((entry, index) => figure(entry, () => onOpen(shown, index)));
  if (row.stylized === undefined) figures.push(emptyFigure(row));
  const path = pictures[row.content].path;
  const heading = element(
    "h3", {},
    element("span", { className: `badge ${row.status}`, textContent: row.status }), " ",
    element("span", { className: "name", textContent: baseName(path), title: path }),
  );
  const places = element("p", { className: "path" }, `${path} → ${row.output}`);
  const text = element("div", { className: "text" }, heading, ...errorBlock(row), factList(row), places);
  const item = element("li", {}, element("div", { className: "figures" }, ...figures), text);
  item.dataset.job = row.job_id;
  return item;
}
