// Generates the client of the HTTP API from openapi.yaml into the folder that the argument names: the types of the API, the verbs and paths of its
// operations, and the types of client.js, which is copied there if the folder is another one than its own.
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import yaml from "js-yaml";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const root = resolve(import.meta.dirname, "..");
const source = join(root, "client");
const folder = resolve(process.argv[2]);
const file = resolve(root, "../rest/openapi.yaml");
const notice = "// Generated from transport/rest/openapi.yaml by make client. Do not edit.\n";

writeFileSync(join(folder, "openapi.d.ts"), notice + astToString(await openapiTS(new URL(`file://${file}`), { silent: true })));

const lines = [];
for (const [path, item] of Object.entries(yaml.load(readFileSync(file, "utf8")).paths)) {
  for (const verb of ["get", "put", "post", "patch", "delete"]) {
    if (item[verb]) lines.push(`  ${item[verb].operationId}: ["${verb.toUpperCase()}", "${path}"],`);
  }
}
writeFileSync(join(folder, "operations.js"), `${notice}\n/**\n * The verb and path of each operation.\n * @type {Record<keyof import("./openapi.js").operations, [string, string]>}\n */\nexport const operations = {\n${lines.sort().join("\n")}\n};\n`);

if (folder !== source) copyFileSync(join(source, "client.js"), join(folder, "client.js"));
rmSync(join(folder, "operations.d.ts"), { force: true }); // else the compiler takes it in the place of operations.js
const program = ts.createProgram([join(folder, "client.js")], { allowJs: true, checkJs: true, declaration: true, emitDeclarationOnly: true, strict: true, outDir: folder,
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"], types: [], newLine: ts.NewLineKind.LineFeed });
const found = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
if (found.length) {
  console.error(ts.formatDiagnostics(found, { getCanonicalFileName: (f) => f, getCurrentDirectory: () => root, getNewLine: () => "\n" }));
  process.exit(1);
}
