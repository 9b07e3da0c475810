document.getElementById("save").addEventListener("click", () => {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = [...document.querySelectorAll("input")].map((input) => `${input.name},${quoted(input.value.trim())}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([["key,word", ...rows, ""].join("\n")], { type: "text/csv" }));
  link.download = "words.csv";
  link.click();
});
