// Answers with a new identifier each time. Listens where Weir says.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { nanoid } from "nanoid";

const built = JSON.parse(readFileSync(new URL("./build/info.json", import.meta.url), "utf8"));
const server = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ hello: "from Node.js", node: process.version, built, id: nanoid() }) + "\n");
});
server.listen(Number(process.env.PORT ?? 8000), "0.0.0.0");

// Finish what was begun, then go.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
