for (const viewer of document.querySelectorAll("[data-frames]")) {
  const slider = viewer.querySelector("input");
  const output = viewer.querySelector("output");
  const frames = [...viewer.querySelectorAll("img")];
  const show = () => {
    frames.forEach((frame, i) => (frame.hidden = i !== slider.valueAsNumber));
    const step = `step ${frames[slider.valueAsNumber].dataset.step}`;
    output.value = step;
    slider.setAttribute("aria-valuetext", step);
  };
  slider.addEventListener("input", show);
  viewer.querySelector(".controls").hidden = frames.length < 2;
  show(); // A browser that reloads the page restores the slider.
}
