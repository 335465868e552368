"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const range = document.getElementById("range");
  const nothing = data.npos.length;
  const percent = (part, whole) => (whole ? ((100 * part) / whole).toFixed(1) : "–");
  const many = (value) => value.toLocaleString("en-US");
  const set = (id, text) => { document.getElementById(id).textContent = text; };
  const place = (element, value) => {
    const { low, high, from, to } = element.dataset;
    const share = (value - low) / (high - low || 1);
    return Number(from) + Math.min(Math.max(share, 0), 1) * (to - from);
  };

  const drawCounts = (step) => {
    for (const row of document.querySelectorAll("#counts tbody tr")) {
      const k = row.dataset.class;
      const [hits, wrong, all] = [data.hits[k][step], data.false[k][step], data.npos[k]];
      const texts = [percent(hits, hits + wrong), percent(hits, all), all ? percent(2 * hits, hits + wrong + all) : "–",
        many(hits), many(wrong), many(all - hits)];
      texts.forEach((text, i) => { row.children[i + 1].textContent = text; });
    }
    const total = (table) => table.reduce((sum, one) => sum + one[step], 0);
    const [hits, wrong] = [total(data.hits), total(data.false)];
    const all = data.npos.reduce((sum, one) => sum + one, 0);
    set("precision", percent(hits, hits + wrong));
    set("recall", percent(hits, all));
    set("f1", percent(2 * hits, hits + wrong + all));
  };

  const kept = (pairs, step) => {
    let count = 0;
    for (let i = 0; i < pairs.length; i += 2) if (pairs[i] >= step) count += pairs[i + 1];
    return count;
  };

  const drawMatrix = (step) => {
    const found = new Map();
    for (const [row, column, pairs] of data.changes) {
      found.set(row * (nothing + 1) + column, kept(pairs, step));
    }
    for (const row of document.querySelectorAll("#matrix tbody tr")) {
      const k = Number(row.dataset.row);
      let rest = k < nothing ? data.npos[k] : 0;
      let sum = rest;
      const cells = [...row.querySelectorAll("td[data-column]")];
      const counts = cells.map((cell) => {
        const j = Number(cell.dataset.column);
        if (j === nothing) return null;
        const count = found.get(k * (nothing + 1) + j) || 0;
        rest -= count;
        return count;
      });
      if (k === nothing) sum = counts.reduce((a, b) => a + b, 0);
      // With classes left out, an object may also be taken for one of those.
      if (k in data.hidden) rest -= kept(data.hidden[k], step);
      cells.forEach((cell, i) => {
        const count = counts[i] === null ? rest : counts[i];
        cell.textContent = many(count);
        cell.style.setProperty("--share", sum ? (count / sum).toFixed(3) : 0);
      });
    }
  };

  const drawCharts = (step) => {
    for (const cursor of document.querySelectorAll(".chart .cursor")) {
      cursor.setAttribute("transform", `translate(${place(cursor, data.values[step])} 0)`);
    }
    for (const point of document.querySelectorAll(".chart .point")) {
      const k = point.dataset.class;
      const [hits, wrong, all] = [data.hits[k][step], data.false[k][step], data.npos[k]];
      const shown = hits + wrong > 0 && all > 0;
      point.toggleAttribute("hidden", !shown);
      point.style.display = shown ? "" : "none";
      if (!shown) continue;
      const [bottom, top] = [Number(point.dataset.bottom), Number(point.dataset.top)];
      point.setAttribute("cx", place(point, hits / all));
      point.setAttribute("cy", bottom + (hits / (hits + wrong)) * (top - bottom));
    }
  };

  const drawBoxes = (step) => {
    for (const figure of document.querySelectorAll("#gallery .picture")) {
      const counts = { right: 0, false: 0, missed: 0 };
      for (const shape of figure.querySelectorAll("g")) {
        const reached = Number(shape.dataset.step) >= step;
        const kind = shape.classList[0];
        if (kind === "truth") {
          shape.classList.toggle("missed", !reached);
          if (!reached) counts.missed += 1;
        } else if (kind !== "difficult") {
          shape.toggleAttribute("hidden", !reached);
          if (reached && kind in counts) counts[kind] += 1;
        }
      }
      for (const count of figure.querySelectorAll("[data-count]")) {
        count.textContent = counts[count.dataset.count];
      }
    }
  };

  const draw = () => {
    const step = Number(range.value);
    const text = String(data.values[step]);
    set("value", text);
    range.setAttribute("aria-valuetext", text);
    drawCounts(step);
    drawMatrix(step);
    drawCharts(step);
    drawBoxes(step);
  };

  let waiting = false;
  range.addEventListener("input", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });
  document.getElementById("reset").addEventListener("click", () => { range.value = data.start; draw(); });

  const gallery = document.getElementById("gallery");
  for (const box of document.querySelectorAll(".choices input")) {
    const apply = () => gallery.classList.toggle(`hide-${box.dataset.kind}`, !box.checked);
    box.addEventListener("change", apply);
    apply();
  }
  const only = document.getElementById("only");
  if (only) {
    only.addEventListener("change", () => {
      for (const shape of gallery.querySelectorAll("g")) {
        shape.classList.toggle("other-class", only.value !== "" && shape.dataset.group !== only.value);
      }
    });
  }

  const dialog = document.getElementById("large");
  if (dialog) {
    const figures = [...gallery.querySelectorAll(".picture")];
    let shown = 0;
    const show = (number) => {
      shown = (number + figures.length) % figures.length;
      const frame = figures[shown].querySelector(".frame").cloneNode(true);
      const holder = document.getElementById("large-frame");
      holder.className = gallery.className.replace("pictures", "").replace("hide-names", "");
      holder.replaceChildren(frame);
      const tallies = figures[shown].querySelector(".tallies").textContent.replace(/\s+/g, " ").trim();
      set("large-title", `${figures[shown].querySelector(".enlarge").textContent}: ${tallies}`);
    };
    figures.forEach((figure, i) => {
      figure.querySelector(".enlarge").addEventListener("click", () => { show(i); dialog.showModal(); });
      figure.querySelector(".frame").addEventListener("click", () => { show(i); dialog.showModal(); });
    });
    document.getElementById("previous").addEventListener("click", () => show(shown - 1));
    document.getElementById("next").addEventListener("click", () => show(shown + 1));
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") show(shown - 1);
      if (event.key === "ArrowRight") show(shown + 1);
    });
  }
  draw();
})();
