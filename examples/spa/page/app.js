import { createClient, NetworkError, SignedOutError, SignInError, webStorage } from './latchkey/client.js'

const isCookieMode = new URLSearchParams(location.search).get('mode') === 'cookie'
const baseUrl = document.documentElement.dataset.api
const client = createClient(isCookieMode ? { baseUrl, mode: 'cookie' } : { baseUrl, storage: webStorage(localStorage) })

const element = (id) => document.getElementById(id)
const say = (text) => {
  element('message').textContent = text
}

/** Does what was asked for, and tells what came of it. */
const attempt = async (work) => {
  say('')
  try {
    await work()
  } catch (error) {
    if (error instanceof SignInError) say(error.message)
    else if (error instanceof SignedOutError) say('Please sign in.')
    else if (error instanceof NetworkError || error instanceof TypeError) say('No connection. Please try again.')
    else throw error
  }
}

const get = async (url) => {
  const answer = await client.fetch(url)
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}`)
  return answer.json()
}

function show(isSignedIn) {
  element('login').hidden = isSignedIn
  element('account').hidden = !isSignedIn
  return isSignedIn && attempt(showAccount)
}

async function showAccount() {
  const [{ username }, sessions] = await Promise.all([get('me/'), get('sessions/')])
  element('who').textContent = username
  element('sessions').replaceChildren(...sessions.map(itemOf))
}

function itemOf({ user_agent, created_at, is_current }) {
  const item = document.createElement('li')
  item.textContent = `${is_current ? 'This one' : 'Another'}, since ${created_at}: ${user_agent}`
  return item
}

element('login').addEventListener('submit', (event) => {
  event.preventDefault()
  const form = event.target
  attempt(async () => {
    await client.signIn(Object.fromEntries(new FormData(form)))
    form.reset()
  })
})
element('call').addEventListener('click', () => attempt(async () => say((await get('protected/')).message)))
element('logout').addEventListener('click', () =>
  attempt(async () => {
    if (!(await client.signOut())) say('Signed out here; the server could not be told.')
  })
)

client.onChange(show)
attempt(async () => show(await client.isSignedIn()))
