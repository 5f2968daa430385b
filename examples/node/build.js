// The `build` script: makes what the server reads. Dependencies for development are at hand here.
import { mkdirSync, writeFileSync } from "node:fs";

mkdirSync("build", { recursive: true });
writeFileSync("build/info.json", JSON.stringify({ message: "built by npm run build" }));
