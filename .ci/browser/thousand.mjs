// Makes the event log of a large night out of a small one: each cell many times, under profiles of other names.
//
//   node thousand.mjs FROM/events.jsonl TO/events.jsonl TIMES

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";

const [from, to, times] = process.argv.slice(2);
const copies = Array.from({ length: Number(times) }, (_, n) => `-${String(n + 1).padStart(2, "0")}`);
const out = await open(to, "w");
let seq = 0;
const write = async (event) => out.write(`${JSON.stringify({ ...event, seq: ++seq })}\n`);
/** `vsphere/test_x` of the night with that suffix. */
const renamed = (cell, suffix) => cell.replace("/", `${suffix}/`);

for await (const line of createInterface({ input: createReadStream(from) })) {
  const event = JSON.parse(line);
  if (event.event === "run-started") {
    const cells = copies.flatMap((suffix) =>
      event.cells.map((cell) => ({ ...cell, id: renamed(cell.id, suffix), profile: cell.profile + suffix })));
    await write({ ...event, cells });
  } else if (event.cell) {
    for (const suffix of copies) await write({ ...event, cell: renamed(event.cell, suffix) });
  } else {
    await write(event);
  }
}
await out.close();
