// Which rows, in which order: pure, of the rows and a choice.

const DEFAULTS = { status: "", query: "", style: "", pattern: "", sort: "failures", order: "", page: 1, size: 25 };

const searchTexts = rows.map((row) =>
  [
    row.job_id, row.status, row.error_type, row.error, row.worker, row.stop_reason, row.output, pictures[row.content].path,
    ...(row.styles || []).map((number) => pictures[number].path), ...(row.notes || []),
  ].join("\n").toLowerCase(),
);

const sortKeys = {
  failures: (row) => (failed(row) ? 0 : 1),
  name: (row) => pictures[row.content].path,
  seconds: (row) => row.seconds,
  loss: (row) => (row.losses || {}).total,
  time: (row) => row.finished_at,
};

const nameOrder = new Intl.Collator("en", { numeric: true }).compare;

function compareKeys(one, other) {
  if (typeof one === "string") return nameOrder(one, other);
  return one - other;
}

// Rows without the number that is sorted by come last, whatever the direction; ties keep the journal's order.
function compareRows(key, reversed) {
  return (one, other) => {
    const [a, b] = [key(rows[one]), key(rows[other])];
    const [noA, noB] = [a === undefined || a === null, b === undefined || b === null];
    if (noA || noB) return noA - noB || one - other;
    return (reversed ? -1 : 1) * compareKeys(a, b) || one - other;
  };
}

// Returns the numbers of the rows that are wanted.
function chooseRows(choice) {
  const words = choice.query.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = (row, index) =>
    (!choice.status || row.status === choice.status) &&
    (!choice.pattern || row.pattern === choice.pattern) &&
    (!choice.style || (row.styles || []).some((number) => pictures[number].path === choice.style)) &&
    words.every((word) => searchTexts[index].includes(word));
  const found = rows.map((_, index) => index).filter((index) => wanted(rows[index], index));
  return found.sort(compareRows(sortKeys[choice.sort], choice.order === "down"));
}

// The choice lives in the address, so that a reload or a bookmark keeps it.
function choiceFromHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const choice = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (given.has(name)) choice[name] = given.get(name);
  choice.page = Math.max(1, parseInt(choice.page, 10) || 1);
  choice.size = [25, 50, 100, 200].find((size) => size === Number(choice.size)) || DEFAULTS.size;
  if (!Object.hasOwn(sortKeys, choice.sort)) choice.sort = DEFAULTS.sort;
  return choice;
}

function hashOf(choice) {
  const changed = Object.entries(choice).filter(([name, value]) => value !== DEFAULTS[name]);
  return `#${new URLSearchParams(changed)}`;
}
