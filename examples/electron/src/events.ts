// Server-sent events out of a stream of bytes, as the HTML standard reads them.

export interface ServerEvent {
  event: string;
  id: string;
  data: string;
}

/** The longest event that is read; a whole answer comes as one. */
const EVENT_SIZE_MAX = 256 * 1024 * 1024;

export async function* events(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  // Pieces are joined when a line ends, so a long line costs no more than its length.
  let pieces: string[] = [];
  let size = 0;
  let current: ServerEvent = { event: "message", id: "", data: "" };
  const data: string[] = [];
  for await (const chunk of bytes) {
    const lines = decoder.decode(chunk, { stream: true }).split("\n");
    for (const [index, part] of lines.entries()) {
      pieces.push(part);
      size += part.length;
      if (size > EVENT_SIZE_MAX) throw new Error(`an event is longer than ${EVENT_SIZE_MAX}`);
      if (index === lines.length - 1) break;
      const line = pieces.join("").replace(/\r$/, "");
      pieces = [];
      if (line === "") {
        size = 0;
        if (data.length > 0) yield { ...current, data: data.join("\n") };
        current = { event: "message", id: current.id, data: "" };
        data.length = 0;
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") current.event = value;
      if (name === "id") current.id = value;
      if (name === "data") data.push(value);
    }
  }
}
