// Reads an AsyncAPI document with the parser of its makers, and prints what the parser says of it. It exits with 1 when the document has mistakes.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

(async () => {
  const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
  const wrong = diagnostics.filter((d) => d.severity < 2); // errors and warnings
  for (const d of wrong) console.log(`${d.range.start.line + 1}: ${d.code}: ${d.message} (${d.path.join(".")})`);
  if (!document || wrong.length) process.exit(1);
  console.log(`${document.channels().length} channels, ${document.operations().length} operations, ${document.components().messages().length} messages`);
})();
