// Goal: what an app builds on this client holds against the real program. Method: two devices of a
// crew, each with its daemon, and nothing but the client in between.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Fieldmesh, type LiveEvent, Problem, readAccess } from "../src/client.js";
import { events } from "../src/events.js";
import { Device } from "./device.js";

let lead: Device;
let truck: Device;

before(async () => {
  [lead, truck] = [await Device.make(), await Device.make()];
  await lead.run("tenant", "create", "Cedar Creek", "--user", "lead@example.org");
  await lead.up();
  const invited = await lead.run("--json", "invite", "--role", "admin");
  const { invitation } = JSON.parse(invited) as { invitation: string };
  await truck.run("join", invitation, "--device", "truck");
  await truck.up();
});

after(async () => {
  await truck?.end();
  await lead?.end();
});

function well(number: number) {
  const fields = { name: `Alder ${number}`, apiNumber: `42-227-3000${number}`, status: "ACTIVE" };
  return { collection: "well", fields };
}

async function refused(asked: Promise<unknown>): Promise<Problem> {
  try {
    await asked;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

test("records are made, listed by pages, changed, deleted and restored", async () => {
  const office = Fieldmesh.at(lead.home);
  for (const number of [1, 2, 3]) await office.create(well(number));
  const names = [];
  for await (const record of office.records({ collection: "well", sort: "name", limit: 2 })) {
    names.push(record.fields["name"]);
  }
  assert.deepEqual(names, ["Alder 1", "Alder 2", "Alder 3"]);
  const read = await office.record("Alder 2");
  const edited = await office.edit(read, { status: "INACTIVE" });
  const stale = await refused(office.edit(read, { status: "PLUGGED" }));
  assert.equal(stale.status, 412);
  assert.equal(stale.details.current?.fields["status"], "INACTIVE");
  const removed = await office.remove(edited);
  assert.equal(await office.count({ collection: "well" }), 2);
  assert.equal((await office.restore(removed)).deleted, false);
  assert.equal((await office.history(read.id)).length, 4);
});

test("what is wrong is told with all its fields, and strangers get nothing", async () => {
  const office = Fieldmesh.at(lead.home);
  const wrong = { collection: "well", fields: { name: "Birch 1", status: "ON", colour: "red" } };
  const invalid = await refused(office.create(wrong));
  assert.equal(invalid.status, 422);
  const fields = invalid.details.faults?.map((fault) => fault.field) ?? [];
  for (const field of ["apiNumber", "colour", "status"]) assert.ok(fields.includes(field), field);
  const { url } = await readAccess(lead.home);
  const stranger = Fieldmesh.with({ url, token: "guessed" });
  assert.equal((await refused(stranger.page({ collection: "well" }))).status, 401);
});

test("what is recorded at one device arrives live at the other, also over a restart", async () => {
  const [office, site] = [Fieldmesh.at(lead.home), Fieldmesh.at(truck.home)];
  await site.sync({ with: [lead.address] });
  const ended = new AbortController();
  const live = office.live({ collection: "well", where: ["name>=Cedar"] }, ended.signal);
  const next = async (): Promise<LiveEvent> => {
    const { value, done } = await live.next();
    assert.ok(!done);
    return value as LiveEvent;
  };
  assert.deepEqual(await next(), { kind: "present", records: [] });
  const name = "Cedar 4";
  const made = await site.create({ ...well(4), fields: { ...well(4).fields, name } });
  const report = await site.sync({ with: [lead.address] });
  assert.equal(report.result, "ok");
  const added = await next();
  assert.ok(added.kind === "added" && added.record.id === made.id);
  assert.equal(added.record.version, made.version);

  await lead.down();
  await lead.up();
  const again = await office.record("Cedar 4");
  await office.edit(again, { status: "PLUGGED" });
  for (;;) {
    const event = await next();
    assert.ok(event.kind === "changed", "nothing begins anew");
    if (event.record.fields["status"] === "PLUGGED") break;
  }
  ended.abort();
  assert.equal((await live.next()).done, true);
});

test("a conflict of two devices is settled", async () => {
  const [office, site] = [Fieldmesh.at(lead.home), Fieldmesh.at(truck.home)];
  const data = { oilVolume: 82 };
  const fields = { wellId: "Alder 1", entryType: "PRODUCTION", data };
  const entry = await office.create({ collection: "field_entry", fields });
  await site.sync({ with: [lead.address] });
  // Connected daemons would tell each other at once, so one edits while its daemon is down.
  await lead.down();
  await lead.run("edit", entry.id, "oilVolume=83");
  await site.edit(await site.record(entry.id), { data: { oilVolume: 81 } });
  await lead.up();
  await site.sync({ with: [lead.address] });
  const [conflict] = await office.conflicts({ kind: "field" });
  assert.ok(conflict !== undefined && conflict.values.length === 2);
  const label = conflict.values.find((side) => side.value === 81)?.label ?? "";
  const settled = await office.resolve(conflict.id, { take: { label } });
  assert.deepEqual([settled.fields["data"], settled.conflicts], [{ oilVolume: 81 }, []]);
  assert.deepEqual(await office.conflicts(), []);
});

test("the feed gives each change once, and its cursor lasts", async () => {
  const office = Fieldmesh.at(lead.home);
  let after: string | undefined;
  const seen: string[] = [];
  for (;;) {
    const page = await office.changes(after === undefined ? { limit: 2 } : { limit: 2, after });
    seen.push(...page.changes.map((change) => change.id));
    after = page.next;
    if (!page.more) break;
  }
  assert.equal(new Set(seen).size, seen.length);
  const made = await office.create(well(5));
  const news = await office.changes({ after });
  assert.deepEqual(news.changes.map((change) => [change.id, change.kind]), [[made.id, "created"]]);
  const foreign = await refused(Fieldmesh.at(truck.home).changes({ after }));
  assert.equal(foreign.status, 400);
});

test("events are read however their bytes are split", async () => {
  const text = ":\n\nevent: added\nid: 7\ndata: {\"a\":\ndata: \"ü\"}\n\nid: 8\n\nevent: x\r\ndata:y\r\n\r\n";
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size += 1) {
    async function* split() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
    }
    const read = [];
    for await (const event of events(split())) read.push(event);
    const first = { event: "added", id: "7", data: "{\"a\":\n\"ü\"}" };
    assert.deepEqual(read, [first, { event: "x", id: "8", data: "y" }]);
  }
});
