/* A figure as PNG: its SVG file, drawn at twice its size. */

async function save(button) {
  const answer = await fetch(button.dataset.png);
  if (!answer.ok) throw new Error(answer.statusText);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await answer.text())}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * picture.width, 2 * picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  const link = document.createElement("a");
  link.download = button.dataset.name;
  link.href = canvas.toDataURL("image/png");
  link.click();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-png]");
  if (!button) return;
  try {
    await save(button);
    button.textContent = "PNG";
  } catch {
    button.textContent = "PNG did not come: try again";
  }
});
