// A shop: products in files, sessions with their carts in memory, orders in a log that is flushed.
//
//   GET  /product/N              its file, with what is left of it
//   GET  /search/WORD            products whose title has that word
//   GET  /cart/SESSION           what the session has in its cart
//   POST /cart/SESSION           puts {product, number, note} into it
//   POST /order/SESSION          logs the cart as an order, and ends the session
//   GET  /report                 what is in all carts, by product
"use strict";

const fs = require("fs");
const http = require("http");

const FOLDER = "/srv/javascript";
const PORT = 8000;
const SESSIONS_MAX = 20000;
const FOUND_MAX = 20;
const REPORTED_MAX = 50;

const products = JSON.parse(fs.readFileSync(`${FOLDER}/products.json`));
const sessions = new Map(); // in the order of their last use
const requests = fs.createWriteStream(`${FOLDER}/requests.log`, { flags: "a" });
const orders = fs.openSync(`${FOLDER}/orders.log`, "a");

function sessionOf(name) {
  const session = sessions.get(name) || { name, since: new Date(), seen: 0, cart: [] };
  session.seen += 1;
  sessions.delete(name);
  sessions.set(name, session);
  if (sessions.size > SESSIONS_MAX) sessions.delete(sessions.keys().next().value);
  return session;
}

function report() {
  const total = new Map();
  for (const session of sessions.values())
    for (const { product, number } of session.cart) total.set(product, (total.get(product) || 0) + number);
  return [...total].sort((a, b) => b[1] - a[1]).slice(0, REPORTED_MAX)
    .map(([product, number]) => ({ title: products[product].title, number }));
}

const handlers = {
  "GET product": (number, body, done) => {
    const product = products[number];
    fs.readFile(`${FOLDER}/products/${number % 100}/${number}.json`, "utf8", (error, text) =>
      done(error || { ...JSON.parse(text), left: product.left }));
  },
  "GET search": (word, body, done) =>
    done(products.filter((product) => product.title.toLowerCase().split(" ").includes(word)).slice(0, FOUND_MAX)),
  "GET cart": (name, body, done) => done(sessionOf(name)),
  "POST cart": (name, body, done) => {
    const session = sessionOf(name);
    session.cart.push({ ...JSON.parse(body), at: new Date() });
    done(session);
  },
  "POST order": (name, body, done) => {
    const session = sessionOf(name);
    for (const { product, number } of session.cart) products[product].left -= number;
    sessions.delete(name);
    fs.write(orders, JSON.stringify(session) + "\n", () => fs.fdatasync(orders, (error) => done(error || "thank you")));
  },
  "GET report": (_, body, done) => done(report()),
};

http.createServer((request, response) => {
  const [, kind, argument] = request.url.split("/");
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => handlers[`${request.method} ${kind}`](argument, body, (result) => {
    const failed = result instanceof Error;
    const text = failed ? String(result) : JSON.stringify(result);
    response.writeHead(failed ? 500 : 200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) });
    response.end(text);
    requests.write(`${new Date().toISOString()} ${request.method} ${request.url} ${text.length}\n`);
  }));
}).listen(PORT, "127.0.0.1");
