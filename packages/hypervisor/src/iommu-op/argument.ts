/** Reading and answering the struct of a sub-op that is not hot: decoded from the one copy, OUT fields written to the held frames. */
import type { Fields, Struct, ValueOf } from '@iospace/wire'
import type { Call } from '../call.ts'

/** The argument as a value. */
export function decode<F extends Fields>(call: Call, struct: Struct<F>): ValueOf<F> {
  return struct.read(call.core.memory.view, call.at)
}

/** Writes the `fields` of `value`, and nothing else, to the guest. */
export function answer<F extends Fields>(
  call: Call,
  struct: Struct<F>,
  value: ValueOf<F>,
  ...fields: (keyof ValueOf<F> & string)[]
): void {
  const { core } = call
  struct.write(core.memory.view, call.at, value)
  for (const { name, offset, type } of struct.layout.fields) {
    if ((fields as string[]).includes(name)) call.argument.copyOut(core.memory, call.at + offset, offset, type.size)
  }
}
