// scratch (removed at the end)
import { translation } from './p1-translation.ts'
import { flatTables } from './p4-flat-tables.ts'
const which = process.argv[2] === 'P4' ? flatTables : translation
const s = await which.start!()
for (let i = 0; i < 4; i++) {
  const r = await s.round()
  console.log(
    which.goals
      .map(
        (g) =>
          `${g.subject} ${r[g.subject]!.toFixed(2)}/${r[g.baseline]!.toFixed(2)}=${(r[g.subject]! / r[g.baseline]!).toFixed(2)}`,
      )
      .join('  '),
  )
}
s.end()
