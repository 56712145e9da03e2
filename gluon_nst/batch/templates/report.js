// The controls and the list, tied to the choice; and, while a run goes on, the reload.

let choice = choiceFromHash();
let chosen = [];

function fillSelect(id, texts, label) {
  byId(id).append(...texts.map((text) => element("option", { value: text, textContent: label(text) })));
}

function showControls() {
  for (const button of document.querySelectorAll("[data-status]")) {
    button.setAttribute("aria-pressed", String(button.dataset.status === choice.status));
  }
  for (const id of ["query", "style", "pattern", "sort", "size"]) byId(id).value = choice[id];
  byId("order").setAttribute("aria-pressed", String(choice.order === "down"));
}

function showPage() {
  const pages = Math.max(1, Math.ceil(chosen.length / choice.size));
  choice.page = Math.min(choice.page, pages);
  const first = (choice.page - 1) * choice.size;
  const here = chosen.slice(first, first + choice.size);
  byId("rows").replaceChildren(...here.map((index) => rowElement(rows[index], openViewer)));
  byId("rows").start = first + 1;
  const range = here.length ? `${(first + 1).toLocaleString("en")}–${(first + here.length).toLocaleString("en")} of ` : "";
  byId("shown").textContent = `${range}${chosen.length.toLocaleString("en")} ${chosen.length === 1 ? "job" : "jobs"}`;
  byId("nothing").hidden = chosen.length > 0;
  byId("pages").hidden = pages === 1;
  byId("page").value = choice.page;
  byId("page").max = pages;
  byId("last").textContent = pages.toLocaleString("en");
  byId("previous").disabled = choice.page === 1;
  byId("next").disabled = choice.page === pages;
}

function show() {
  chosen = chooseRows(choice);
  showControls();
  showPage();
}

// Another filter begins at its first page.
function change(values) {
  choice = { ...choice, page: 1, ...values };
  show();
  if (location.hash.slice(1) !== hashOf(choice).slice(1)) history.replaceState(null, "", hashOf(choice));
}

function turnTo(page) {
  change({ page: Math.max(1, page || 1) });
  byId("shown").scrollIntoView();
}

function connect() {
  for (const button of document.querySelectorAll("[data-status]")) {
    button.onclick = () => change({ status: button.dataset.status });
  }
  for (const button of document.querySelectorAll("[data-pattern]")) {
    button.onclick = () => change({ ...DEFAULTS, size: choice.size, pattern: button.dataset.pattern });
  }
  byId("query").oninput = (event) => change({ query: event.target.value });
  for (const id of ["style", "pattern", "sort"]) byId(id).onchange = (event) => change({ [id]: event.target.value });
  byId("size").onchange = (event) => change({ size: Number(event.target.value) });
  byId("order").onclick = () => change({ order: choice.order === "down" ? "" : "down" });
  byId("clear").onclick = () => change({ ...DEFAULTS, size: choice.size });
  byId("previous").onclick = () => turnTo(choice.page - 1);
  byId("next").onclick = () => turnTo(choice.page + 1);
  byId("page").onchange = (event) => turnTo(parseInt(event.target.value, 10));
  window.addEventListener("hashchange", () => {
    choice = choiceFromHash();
    show();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea") || viewer.open;
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    byId("query").focus();
  });
}

// What a reload would lose besides the choice: where the reader is, what has the focus, which blocks are open.
const placeKey = `gluon-nst report ${location.pathname}`;

function keepPlace() {
  const open = [...document.querySelectorAll("details[open]")].map((block) => block.id);
  try {
    sessionStorage.setItem(placeKey, JSON.stringify({ y: window.scrollY, focus: document.activeElement.id, open }));
  } catch {
    // Without storage the page just begins at its top.
  }
}

function restorePlace() {
  let kept = null;
  try {
    kept = JSON.parse(sessionStorage.getItem(placeKey));
    sessionStorage.removeItem(placeKey);
  } catch {
    return;
  }
  if (!kept) return;
  for (const id of kept.open) if (byId(id)) byId(id).open = true;
  if (kept.focus && byId(kept.focus)) byId(kept.focus).focus({ preventScroll: true });
  window.scrollTo(0, kept.y);
}

// Not under the reader's hands: an open picture or a hidden tab waits.
function refreshSoon() {
  setTimeout(() => {
    if (viewer.open || document.hidden) {
      refreshSoon();
      return;
    }
    keepPlace();
    location.reload();
  }, reload * 1000);
}

function start() {
  const styles = new Set(rows.flatMap((row) => row.styles || []).map((number) => pictures[number].path));
  fillSelect("style", [...styles].sort(nameOrder), baseName);
  fillSelect("pattern", [...new Set(rows.map((row) => row.pattern).filter(Boolean))].sort(), (text) => text.slice(0, 80));
  for (const time of document.querySelectorAll("time[data-seconds]")) time.textContent = dateText(Number(time.dataset.seconds));
  connect();
  show();
  restorePlace();
  if (reload) refreshSoon();
}

start();
