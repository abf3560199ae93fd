"use strict";
(() => {
  const cells = [...document.querySelectorAll("#cells > details")];
  const text = document.getElementById("find");
  const shown = document.getElementById("shown");
  const show = () => {
    const wanted = text.value.trim().toLowerCase();
    const verdict = document.querySelector("input[name=show]:checked").value;
    let n = 0;
    for (const cell of cells) {
      const fits = (!verdict || cell.dataset.verdict === verdict || (verdict === "flaky" && cell.dataset.flaky)) &&
        (!wanted || cell.textContent.toLowerCase().includes(wanted));
      cell.hidden = !fits;
      n += fits ? 1 : 0;
    }
    shown.textContent = n === cells.length ? "" : n + " of " + cells.length;
  };
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };
  document.getElementById("filter").hidden = false;
  text.addEventListener("input", show);
  document.querySelectorAll("input[name=show]").forEach((one) => one.addEventListener("change", show));
  addEventListener("hashchange", open);
  open();
})();
