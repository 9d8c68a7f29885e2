import { PacketPath } from '/work/main/packages/system-tests/bench/packet/packet-path.ts'
const path = new PacketPath()
const cpu = () => { const c = process.threadCpuUsage(); return (c.user + c.system) * 1e3 }
const B = Number(process.argv[2])
for (let k = 0; k < 40; k++) { const a = cpu(), w = performance.now(); let n = 0; while (cpu() - a < 100e6) { path.receive(4096, B); n++ } ; console.log(((cpu() - a) / n / 4096).toFixed(0), ((performance.now() - w) * 1e6 / n / 4096).toFixed(0)) }
