import { ApiError, createClient, NetworkError, SignedOutError, webStorage } from './latchkey/client.js'

const isCookieMode = new URLSearchParams(location.search).get('mode') === 'cookie'
const baseUrl = document.documentElement.dataset.api
const client = createClient(isCookieMode ? { baseUrl, mode: 'cookie' } : { baseUrl, storage: webStorage(localStorage) })

const element = (id) => document.getElementById(id)
const showMessage = (text) => {
  element('message').textContent = text
}

/** Runs an action of the user and shows its error. */
const attempt = async (action) => {
  showMessage('')
  try {
    await action()
  } catch (error) {
    if (error instanceof ApiError) showMessage(error.message)
    else if (error instanceof SignedOutError) showMessage('Please sign in.')
    else if (error instanceof NetworkError || error instanceof TypeError)
      showMessage('No connection. Please try again.')
    else throw error
  }
}

const getJson = async (url) => {
  const response = await client.fetch(url)
  if (!response.ok) throw new Error(`${url}: status ${response.status}`)
  return response.json()
}

function render(isSignedIn) {
  element('login').hidden = isSignedIn
  element('account').hidden = !isSignedIn
  return isSignedIn && attempt(showAccount)
}

async function showAccount() {
  const [{ username }, sessions] = await Promise.all([getJson('me/'), client.sessions.list()])
  element('who').textContent = username
  element('sessions').replaceChildren(...sessions.map(createItem))
}

function createItem({ user_agent, created_at, is_current }) {
  const item = document.createElement('li')
  item.textContent = `${is_current ? 'Current session' : 'Other session'}, since ${created_at}: ${user_agent}`
  return item
}

element('login').addEventListener('submit', (event) => {
  event.preventDefault()
  const form = event.target
  void attempt(async () => {
    await client.signIn(Object.fromEntries(new FormData(form)))
    form.reset()
  })
})
element('call').addEventListener('click', () => attempt(async () => showMessage((await getJson('protected/')).message)))
element('logout').addEventListener(
  'click',
  () =>
    void attempt(async () => {
      if (!(await client.signOut())) showMessage('Signed out on this device. The server could not be reached.')
    })
)

client.onChange(render)
void attempt(async () => render(await client.isSignedIn()))
