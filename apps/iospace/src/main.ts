#!/usr/bin/env node
/** The command line. */
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { main } from './cli/main.ts'
import { processHost } from './cli/host.ts'
import { INLINING_BUDGET } from './v8-flags.ts'
import { VERBS } from './verbs.ts'

setFlagsFromString(INLINING_BUDGET)

process.exitCode = await main(processHost(), VERBS, process.argv.slice(2))
