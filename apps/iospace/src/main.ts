#!/usr/bin/env node
/** The command line. */
import process from 'node:process'
import { main } from './cli/main.ts'
import { processHost } from './cli/host.ts'
import { VERBS } from './verbs.ts'

process.exitCode = await main(processHost(), VERBS, process.argv.slice(2))
