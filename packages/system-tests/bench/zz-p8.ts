import { PacketPath } from './packet/packet-path.ts'
import { CProgram } from './harness/c-program.ts'
const path = new PacketPath()
path.check()
console.log('checked')
const c = CProgram.compile('packet') as CProgram
const cs = CProgram.compile('packet-steps') as CProgram
const cpu = () => { const c = process.cpuUsage(); return (c.user + c.system) * 1e3 }
const N = 4096
const run = (f: () => void) => { const t = Float64Array.from({ length: 61 }, () => { const a = performance.now(); f(); return (performance.now() - a) * 1e6 / N }).sort(); return [t[0]!, t[6]!, t[30]!] }
const R = Number(process.argv[2] ?? 3)
const best: Record<string, number> = {}
for (let r = 0; r < R; r++) {
  const cc = c.run() as any; const steps = typeof cs === 'string' ? null : cs.run() as any
  for (const b of [256, 16, 1]) {
    const warm = performance.now() + 100; while (performance.now() < warm) path.receive(N, b)
    const [min, p10, med] = run(() => path.receive(N, b))
    const warm2 = performance.now() + 50; while (performance.now() < warm2) path.receiveGranted(N, b)
    const [gmin, gp10, gmed] = run(() => path.receiveGranted(N, b))
    const c1 = cc['packet1500_b' + b], c2 = steps?.['packet_steps_b' + b]
    const put = (k: string, v: number) => { best[k] = Math.min(best[k] ?? 1e9, v) }
    put('js' + b, p10!); put('grant' + b, gp10!); put('c' + b, c1.p10); if (c2) put('steps' + b, c2.p10)
    console.log(`b${b}: js ${med!.toFixed(1)} (p10 ${p10!.toFixed(1)} min ${min!.toFixed(1)}) grant ${gmed!.toFixed(1)} (p10 ${gp10!.toFixed(1)}); c ${c1.med.toFixed(1)} (${c1.p10?.toFixed(1)}) steps ${c2?.med.toFixed(1)}; ratio ${(med! / c1.med).toFixed(2)} steps ${(med! / (c2?.med ?? NaN)).toFixed(2)}`)
  }
}
for (const b of [256, 16, 1]) console.log(`best b${b}: js ${best['js' + b]!.toFixed(1)} grant ${best['grant' + b]!.toFixed(1)} c ${best['c' + b]!.toFixed(1)} steps ${best['steps' + b]?.toFixed(1)}  ratio c ${(best['js' + b]! / best['c' + b]!).toFixed(2)} steps ${(best['js' + b]! / best['steps' + b]!).toFixed(2)}`)
c.remove()
