import { PacketPath } from './packet/packet-path.ts'
const path = new PacketPath()
path.check()
const ms = Number(process.argv[3] ?? 3000), g = process.argv[4] === 'g'
for (const B of (process.argv[2] ?? '256,16,1').split(',').map(Number)) {
  const N = B === 256 ? 512 : 256
  for (let i = 0; i < 300; i++) g ? path.receiveGranted(N, B) : path.receive(N, B)
  const end = performance.now() + ms; let n = 0
  const best: number[] = []
  while (performance.now() < end) { const a = performance.now(); if (g) path.receiveGranted(N, B); else path.receive(N, B); best.push((performance.now() - a) * 1e6 / N); n++ }
  best.sort((a, b) => a - b)
  console.log(`B=${B}${g ? ' granted' : ''} min ${best[0]!.toFixed(1)} p1 ${best[n / 100 | 0]!.toFixed(1)} p10 ${best[n / 10 | 0]!.toFixed(1)} med ${best[n >> 1]!.toFixed(1)} n ${n}`)
}
