// The larger view: the thumbnail at once, the file itself when it can be loaded.

const viewer = byId("viewer");
const viewed = { shown: [], index: 0, focus: null };

function openViewer(shown, index) {
  viewed.shown = shown.filter((entry) => entry.picture.thumbnail);
  viewed.index = viewed.shown.indexOf(shown[index]);
  viewer.showModal();
  showPicture();
}

function showPicture() {
  const { label, picture } = viewed.shown[viewed.index];
  const image = byId("large");
  byId("viewer-title").textContent = `${label}: ${baseName(picture.path)}`;
  byId("place").textContent = `${viewed.index + 1} of ${viewed.shown.length}`;
  byId("viewer-note").textContent = picture.link ? "" : "Thumbnail; the file is not on this machine.";
  byId("open").hidden = !picture.link;
  byId("open").href = picture.link || "#";
  image.src = thumbnailUrl(picture);
  image.alt = `${label} image ${baseName(picture.path)}`;
  image.dataset.full = "no";
  if (picture.link) loadFull(picture, image);
}

function loadFull(picture, image) {
  const current = () => viewer.open && viewed.shown[viewed.index].picture === picture;
  const full = new Image();
  full.onload = () => {
    if (!current()) return;
    image.src = full.src;
    image.dataset.full = "yes";
  };
  full.onerror = () => {
    if (current()) byId("viewer-note").textContent = "Thumbnail; the file cannot be shown from here.";
  };
  full.src = picture.link;
}

function step(by) {
  viewed.index = (viewed.index + by + viewed.shown.length) % viewed.shown.length;
  showPicture();
}

byId("close").onclick = () => viewer.close();
byId("earlier").onclick = () => step(-1);
byId("later").onclick = () => step(1);
viewer.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  step(by);
});
// A click beside the dialog's content closes it.
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close();
});
