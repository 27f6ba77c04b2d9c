import type { MethodList } from "../data/types";
import { Fields } from "./fields";
import { Icon } from "./icon";
import { OpenDetails } from "./open-details";
import { type Choice, type Contender, contenderOf, type Mistakes } from "./settings";

interface Props {
  contender: Contender;
  place: number;
  list: MethodList;
  mistakes: Mistakes;
  change: (contender: Contender) => void;
  remove: (() => void) | null;
}

/** One method with its parameters and wrappers. */
export function ContenderForm({ contender, place, list, mistakes, change, remove }: Props) {
  const card = list.methods.find((one) => one.name === contender.name);
  const id = `${place}.method`;
  const mistake = mistakes.get(id);
  const choose = (name: string) => {
    const preset = list.presets.find((one) => `preset:${one.name}` === name);
    change(preset ? contenderOf(preset) : { name, typed: {}, wrappers: contender.wrappers });
  };
  return (
    <fieldset class="contender">
      <legend>{place ? `Method ${place + 1}` : "Method"}</legend>
      <div class="chooser">
        <Icon mark={card?.mark ?? null} />
        <select
          id={id}
          aria-label={`method ${place + 1}`}
          aria-describedby={`${id}.about`}
          aria-invalid={mistake ? "true" : undefined}
          value={contender.name}
          onChange={(event) => choose(event.currentTarget.value)}
        >
          {!card && <option value={contender.name}>{contender.name}</option>}
          {list.presets.length > 0 && (
            <optgroup label="presets">
              {list.presets.map(({ name }) => (
                <option key={name} value={`preset:${name}`}>
                  {name}
                </option>
              ))}
            </optgroup>
          )}
          <optgroup label="methods">
            {list.methods.map(({ name, missing, training }) => (
              <option key={name} value={name} disabled={missing !== undefined}>
                {name}
                {missing === undefined ? (training ? " (needs trained models)" : "") : " (not with this pair)"}
              </option>
            ))}
          </optgroup>
        </select>
        {remove && (
          <button type="button" class="plain" aria-label={`remove method ${place + 1}`} onClick={remove}>
            ✕
          </button>
        )}
      </div>
      <p class={mistake ? "mistake" : "hint"} id={`${id}.about`}>
        {mistake ?? card?.missing ?? card?.about}
      </p>
      <OpenDetails
        title="Parameters and wrappers"
        kind="more-fields"
        wrong={[...mistakes.keys()].some((key) => key.startsWith(`${place}.`))}
      >
        <Fields
          choice={contender}
          schema={card?.schema ?? {}}
          place={`${place}.params`}
          mistakes={mistakes}
          most={list.limits.max_param}
          change={(next) => change({ ...contender, ...next })}
        />
        <Wrappers contender={contender} place={place} list={list} mistakes={mistakes} change={change} />
      </OpenDetails>
    </fieldset>
  );
}

function Wrappers({ contender, place, list, mistakes, change }: Omit<Props, "remove">) {
  const { wrappers } = contender;
  const put = (number: number, next: Choice) => change({ ...contender, wrappers: wrappers.map((one, at) => (at === number ? next : one)) });
  return (
    <div class="wrappers">
      {wrappers.map((wrapper, number) => {
        const card = list.wrappers.find((one) => one.name === wrapper.name);
        const mistake = mistakes.get(`${place}.with.${number}`);
        return (
          <fieldset key={`${number}${wrapper.name}`} class={`wrapper${mistake ? " bad" : ""}`}>
            <legend>
              with {wrapper.name}{" "}
              <button
                type="button"
                class="plain"
                aria-label={`remove ${wrapper.name}`}
                onClick={() => change({ ...contender, wrappers: wrappers.filter((_, at) => at !== number) })}
              >
                ✕
              </button>
            </legend>
            <p class={mistake ? "mistake" : "hint"}>{mistake ?? card?.about}</p>
            <Fields
              choice={wrapper}
              schema={card?.schema ?? {}}
              place={`${place}.with.${number}`}
              mistakes={mistakes}
              most={list.limits.max_param}
              change={(next) => put(number, next)}
            />
          </fieldset>
        );
      })}
      {wrappers.length < 4 && (
        <select
          aria-label={`add a wrapper to method ${place + 1}`}
          value=""
          onChange={(event) => {
            const name = event.currentTarget.value;
            event.currentTarget.value = "";
            if (name) change({ ...contender, wrappers: [...wrappers, { name, typed: {} }] });
          }}
        >
          <option value="">add a wrapper …</option>
          {list.wrappers.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}
