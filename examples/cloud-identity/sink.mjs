// A chat channel: it takes messages as an incoming webhook does and appends the
// text of each to a file. usage: node sink.mjs PORT FILE
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http';

const [port, file] = process.argv.slice(2);
createServer((req, res) => {
  let body = '';
  req.on('data', (d) => { body += d; });
  req.on('end', () => { appendFileSync(file, body + '\n'); res.end('ok'); });
}).listen(Number(port), '127.0.0.1');
