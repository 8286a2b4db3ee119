"""Which names leave the program: the calls of libraries that can fail for reasons of their own, and what guards them.

A pattern is the full name of what is called, with ``()`` where an instance or a result stands: ``httpx.Client().get``.
``{a,b}`` is a choice, ``*`` any one name, ``**`` one or more names.
"""

# ruff: noqa: SIM905 - long lists of words

import ast
import re
from functools import cache

from nightcrew.readiness.calls.found import Kind

_VERBS = "{get,post,put,patch,delete,head,options,request}"
_SQL = "{execute,executemany,executescript,exec_driver_sql,scalar,scalars,fetch,fetchrow,fetchval,commit,stream}"

_PATTERNS: dict[Kind, str] = {
    "http": f"""
        requests.{_VERBS}  requests.api.{_VERBS}  requests.{{Session,session}}().{{send,{_VERBS[1:-1]}}}
        requests.sessions.Session().{{send,{_VERBS[1:-1]}}}  requests_cache.CachedSession().{{send,{_VERBS[1:-1]}}}
        niquests.{_VERBS}  niquests.{{Session,AsyncSession}}().{{send,{_VERBS[1:-1]}}}
        curl_cffi.requests.{_VERBS}  curl_cffi.requests.{{Session,AsyncSession}}().{_VERBS}
        {{httpx,httpx2}}.{{stream,{_VERBS[1:-1]}}}
        {{httpx,httpx2}}.{{Client,AsyncClient}}().{{send,stream,{_VERBS[1:-1]}}}
        aiohttp.request  aiohttp.ClientSession().{{ws_connect,{_VERBS[1:-1]}}}
        aiohttp.client.ClientSession().{{ws_connect,{_VERBS[1:-1]}}}
        urllib.request.{{urlopen,urlretrieve}}  urllib.request.build_opener().open
        urllib.request.OpenerDirector().open
        urllib3.request  urllib3.{{PoolManager,ProxyManager}}().{{request,urlopen}}
        urllib3.{{HTTPConnectionPool,HTTPSConnectionPool}}().{{request,urlopen}}
        http.client.{{HTTPConnection,HTTPSConnection}}().{{request,getresponse}}
        httplib2.Http().request  treq.{_VERBS}  pycurl.Curl().perform
        tornado.httpclient.{{HTTPClient,AsyncHTTPClient}}().fetch
        xmlrpc.client.ServerProxy().**  zeep.{{Client,AsyncClient}}().service.**
        gql.Client().{{execute,execute_async,subscribe}}
        requests_oauthlib.{{OAuth1Session,OAuth2Session}}().{{send,{_VERBS[1:-1]}}}
        requests_oauthlib.{{OAuth1Session,OAuth2Session}}().{{fetch_request_token,fetch_access_token,fetch_token,refresh_token}}
        authlib.integrations.{{requests_client,httpx_client}}.*().{{fetch_token,refresh_token,{_VERBS[1:-1]}}}
        tavily.{{TavilyClient,AsyncTavilyClient}}().{{search,extract,crawl,map}}  exa_py.Exa().*
        ddgs.DDGS().*  duckduckgo_search.DDGS().*  firecrawl.{{Firecrawl,FirecrawlApp,AsyncFirecrawlApp}}().*
    """,
    "model": """
        {openai,groq,together}.{OpenAI,AsyncOpenAI,AzureOpenAI,AsyncAzureOpenAI,Groq,AsyncGroq,Together,AsyncTogether}().**
        openai.{chat,completions,embeddings,responses,images,audio,moderations,files,models}.**
        openai.{ChatCompletion,Completion,Embedding,Image,Moderation}.{create,acreate}
        anthropic.{Anthropic,AsyncAnthropic,AnthropicBedrock,AsyncAnthropicBedrock,AnthropicVertex,AsyncAnthropicVertex}().**
        google.genai.{Client,client.Client}().**
        google.generativeai.GenerativeModel().{generate_content,generate_content_async,count_tokens}
        google.generativeai.GenerativeModel().start_chat().{send_message,send_message_async}
        google.generativeai.{embed_content,generate_text,list_models}
        vertexai.generative_models.GenerativeModel().{generate_content,generate_content_async}
        mistralai.{Mistral,client.MistralClient}().**
        cohere.{Client,AsyncClient,ClientV2,AsyncClientV2}().{chat,chat_stream,embed,rerank,generate,classify,summarize}
        litellm.{completion,acompletion,text_completion,atext_completion,embedding,aembedding,responses,aresponses}
        litellm.{image_generation,aimage_generation,transcription,atranscription,rerank,arerank,moderation,amoderation}
        litellm.{Router,router.Router}().{completion,acompletion,embedding,aembedding}
        ollama.{chat,generate,embed,embeddings,pull,show,list}
        ollama.{Client,AsyncClient}().{chat,generate,embed,embeddings,pull,show,list}
        replicate.{run,async_run,stream}  replicate.Client().{run,async_run,stream}
        huggingface_hub.{hf_hub_download,snapshot_download}
        huggingface_hub.{InferenceClient,AsyncInferenceClient}().*
        {langchain_openai,langchain_anthropic,langchain_google_genai,langchain_ollama,langchain_community.chat_models,langchain_community.llms,langchain.chat_models,langchain.llms}.*().{invoke,ainvoke,stream,astream,batch,abatch,generate,predict}
        langchain.chat_models.init_chat_model().{invoke,ainvoke,stream,astream,batch,abatch}
        pydantic_ai.{Agent,agent.Agent}().{run,run_sync,run_stream,iter}
        portkey_ai.{Portkey,AsyncPortkey}().**
        dspy.{LM,Predict,ChainOfThought,ReAct}()()  instructor.{from_openai,from_anthropic,from_provider,patch}().**
    """,
    "process": """
        subprocess.{run,call,check_call,check_output,Popen,getoutput,getstatusoutput}
        os.{system,popen,posix_spawn,posix_spawnp,spawnl,spawnle,spawnlp,spawnlpe,spawnv,spawnve,spawnvp,spawnvpe}
        asyncio.{create_subprocess_exec,create_subprocess_shell}
        asyncio.subprocess.{create_subprocess_exec,create_subprocess_shell}
        {anyio,trio}.{run_process,open_process}  pexpect.{spawn,run}  pexpect.popen_spawn.PopenSpawn
    """,
    "database": f"""
        {{sqlite3,aiosqlite,psycopg,psycopg2,pymysql,MySQLdb,pyodbc,oracledb,cx_Oracle,pymssql}}.connect
        {{sqlite3,aiosqlite,psycopg,psycopg2,pymysql,MySQLdb,pyodbc,oracledb,cx_Oracle,pymssql}}.connect().{_SQL}
        {{sqlite3,psycopg,psycopg2,pymysql,MySQLdb,pyodbc,oracledb,cx_Oracle,pymssql}}.connect().cursor().{{fetchone,fetchall,{_SQL[1:-1]}}}
        {{sqlite3,psycopg,aiosqlite}}.{{Connection,AsyncConnection}}().{{connect,{_SQL[1:-1]}}}
        {{sqlite3,psycopg,aiosqlite}}.Cursor().{{fetchone,fetchall,{_SQL[1:-1]}}}
        {{psycopg.Connection,psycopg.AsyncConnection}}.connect  mysql.connector.connect
        mysql.connector.connect().commit  mysql.connector.connect().cursor().execute
        asyncpg.{{connect,create_pool}}  asyncpg.{{connect,create_pool}}().{_SQL}
        asyncpg.create_pool().acquire().{_SQL}  snowflake.connector.connect
        snowflake.connector.connect().cursor().execute
        {{sqlalchemy,sqlalchemy.engine,sqlalchemy.ext.asyncio}}.{{create_engine,create_async_engine,Engine,AsyncEngine}}().{{connect,begin}}
        {{sqlalchemy,sqlalchemy.engine,sqlalchemy.ext.asyncio}}.{{create_engine,create_async_engine,Engine,AsyncEngine}}().{{connect,begin}}().{_SQL}
        {{sqlalchemy,sqlalchemy.engine,sqlalchemy.ext.asyncio}}.{{Connection,AsyncConnection}}().{_SQL}
        {{sqlalchemy.orm,sqlalchemy.ext.asyncio,sqlmodel}}.{{Session,AsyncSession}}().{{flush,refresh,get,{_SQL[1:-1]}}}
        {{sqlalchemy.orm,sqlalchemy.ext.asyncio}}.{{sessionmaker,async_sessionmaker,scoped_session}}()().{{flush,refresh,get,{_SQL[1:-1]}}}
        sqlite_utils.{{Database,db.Database}}  sqlite_utils.{{Database,db.Database}}().{{execute,executescript,query}}
        pandas.{{read_sql,read_sql_query,read_sql_table,read_gbq}}
        redis.{{Redis,StrictRedis,from_url,Redis.from_url}}().*  redis.asyncio.{{Redis,from_url,Redis.from_url}}().*
        elasticsearch.{{Elasticsearch,AsyncElasticsearch}}().**  opensearchpy.{{OpenSearch,AsyncOpenSearch}}().**
        cassandra.cluster.Cluster().connect().execute  clickhouse_connect.get_client().{{query,command,insert}}
        clickhouse_driver.Client().execute  neo4j.GraphDatabase.driver().{{execute_query,verify_connectivity}}
        neo4j.GraphDatabase.driver().session().{{run,execute_read,execute_write}}
    """,
    "network": """
        socket.{create_connection,getaddrinfo,gethostbyname,gethostbyaddr,getfqdn}
        socket.socket().{connect,connect_ex,send,sendall,sendto,recv,recvfrom,recv_into,accept}
        socket.create_connection().{send,sendall,recv,recv_into}
        asyncio.open_connection  smtplib.{SMTP,SMTP_SSL,LMTP}
        smtplib.{SMTP,SMTP_SSL,LMTP}().{connect,login,sendmail,send_message,starttls}  aiosmtplib.send
        ftplib.{FTP,FTP_TLS}  ftplib.{FTP,FTP_TLS}().{connect,login,cwd,retrbinary,storbinary,retrlines,storlines,nlst}
        imaplib.{IMAP4,IMAP4_SSL}  imaplib.{IMAP4,IMAP4_SSL}().{login,select,search,fetch,store}
        paramiko.SSHClient().{connect,exec_command,open_sftp}  fabric.Connection().{run,put,get}
        {websockets,websockets.client,websockets.sync.client}.connect  websocket.create_connection
        dns.resolver.{resolve,query}  ldap3.Connection().{bind,search}
        pika.{BlockingConnection,SelectConnection}  pika.BlockingConnection().channel().{basic_publish,basic_get}
        kafka.{KafkaProducer,KafkaConsumer}  kafka.KafkaProducer().{send,flush}  kafka.KafkaConsumer().poll
        confluent_kafka.Producer().{produce,flush}  confluent_kafka.Consumer().{poll,consume,commit}
        paho.mqtt.client.Client().{connect,reconnect,publish,subscribe}  paho.mqtt.publish.{single,multiple}
        nats.connect  nats.connect().{publish,request,subscribe}  apprise.Apprise().notify
    """,
    "cloud": """
        boto3.{client,Session().client}().*  boto3.{resource,Session().resource}().*().*
        aioboto3.Session().{client,resource}().*  botocore.session.get_session().create_client().*
        google.cloud.{storage,bigquery,firestore,datastore,secretmanager,pubsub_v1,vision,translate,speech}.*().*
        google.cloud.storage.Client().{bucket,get_bucket}().*().*
        azure.storage.blob.{BlobServiceClient,ContainerClient,BlobClient}().**
        azure.storage.blob.{BlobServiceClient,ContainerClient}().{get_container_client,get_blob_client}().*
        slack_sdk.WebClient().*  slack_sdk.web.WebClient().*  stripe.*.{create,retrieve,modify,list,delete}
        twilio.rest.Client().**  github.Github().{get_repo,get_user,get_organization,search_issues}
    """,
    "prediction": """
        {sklearn,xgboost,lightgbm,catboost,imblearn}.**().{predict,predict_proba,predict_log_proba,decision_function}
        {sklearn,xgboost,lightgbm,catboost}.**().fit().{predict,predict_proba,decision_function}
        {joblib,pickle,cloudpickle,dill,skops.io}.{load,loads}().{predict,predict_proba,decision_function,transform}
        {keras,tensorflow.keras}.**().predict  mlflow.{pyfunc,sklearn,pytorch}.load_model().predict
        onnxruntime.InferenceSession().run  transformers.pipeline  transformers.pipeline()()
        transformers.*.from_pretrained  transformers.*.from_pretrained().generate  transformers.*.from_pretrained()()
        sentence_transformers.{SentenceTransformer,CrossEncoder}().{encode,predict}  spacy.load  spacy.load()()
        fasttext.load_model().predict  whisper.load_model().transcribe  torch.{jit.load,load}()()
        scipy.optimize.{linprog,milp,minimize,curve_fit,differential_evolution,linear_sum_assignment,root,least_squares}
        pulp.LpProblem().solve  cvxpy.Problem().solve  ortools.**().{solve,Solve}  statsmodels.**().fit().predict
    """,
}

_NOT_CALLS = frozenset(
    "with_options with_raw_response with_streaming_response copy close aclose from_env beta aio pipeline pubsub "
    "register_script can_paginate get_paginator get_waiter items keys values append bucket blob Table Object "
    "Bucket get_container_client get_blob_client".split()
)
"""Last names of clients that do not go out: they give another client, or close one."""

BUILDERS = frozenset(("with_options", "copy", "with_timeout"))
"""Methods that give the same client with other options."""

OTHER_CONSTRUCTOR = re.compile(r"from_(?!pretrained)\w+")
"""Methods of a class that make an instance of it."""

TAKE_A_FUNCTION = frozenset(
    "to_thread run_in_executor submit map imap imap_unordered starmap apply apply_async run_sync call_soon call_later "
    "Thread Process partial add_task start_soon create_task run_in_threadpool".split()
)
"""Last names of calls that call the function they are given."""

HARMLESS_DECORATORS = frozenset(
    "staticmethod classmethod property cached_property abstractmethod override overload final wraps lru_cache cache "
    "contextmanager asynccontextmanager dataclass setter getter deleter singledispatchmethod no_type_check "
    "runtime_checkable validate_call deprecated total_ordering".split()
)
"""Last names of decorators that register nothing: the function is called only where its name stands."""

_RETRIES_WHAT_IT_IS_TOLD = {
    "tenacity.retry": "retry",
    "tenacity.Retrying": "retry",
    "tenacity.AsyncRetrying": "retry",
    "stamina.retry": "on",
    "stamina.retry_context": "on",
    "backoff.on_exception": "exception",
    "retrying.retry": "retry_on_exception",
}
"""Guards of other libraries, and the option that tells what is worth another try."""

_EVERYTHING = ("Exception", "BaseException")


def retries(what: str) -> bool:
    """Whether a full name is a decorator, or loop, of another library that tries again."""
    return what in _RETRIES_WHAT_IT_IS_TOLD


def tells_what_to_retry(what: str, call: ast.Call) -> bool:
    """Whether a call of such a decorator tells it which errors are worth another try, and not all of them."""
    option = _RETRIES_WHAT_IT_IS_TOLD.get(what)
    if option is None:
        return False
    told = [one.value for one in call.keywords if one.arg == option]
    if not told and option in ("on", "exception"):
        place = option == "exception"
        told = call.args[place : place + 1]
    return bool(told) and not any(isinstance(one, ast.Name) and one.id in _EVERYTHING for one in told)


def guard_of(what: str) -> str:
    """``nightcrew.guard``, ``nightcrew.production`` or ``Pipeline.step`` for a full name that is one; else empty."""
    if not what.startswith("nightcrew."):
        return ""
    last = what.rpartition(".")[2]
    if last in ("guard", "production") and "()" not in what:
        return f"nightcrew.{last}"
    return "Pipeline.step" if re.fullmatch(r"nightcrew(\.\w+)*\.Pipeline\(\)\.step", what) else ""


@cache
def kind_of(what: str) -> Kind | None:
    """What a full name calls; None for what stays in the program."""
    last = what.rpartition(".")[2]
    if last in _NOT_CALLS or last.startswith("_"):
        return None
    for pattern, kind in _by_library().get(what.partition(".")[0], ()):
        if pattern.fullmatch(what):
            return kind
    return None


@cache
def _by_library() -> dict[str, list[tuple[re.Pattern[str], Kind]]]:
    found: dict[str, list[tuple[re.Pattern[str], Kind]]] = {}
    for kind, text in _PATTERNS.items():
        for pattern in text.split():
            for library in dict.fromkeys(_first(pattern)):
                found.setdefault(library, []).append((_compiled(pattern), kind))
    return found


def _first(pattern: str) -> list[str]:
    """The libraries that a pattern begins with."""
    choice = re.match(r"\{([^{}]*)\}", pattern)
    return [one.partition(".")[0] for one in (choice[1].split(",") if choice else [pattern])]


def _compiled(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*\*", r"[\w.]+").replace(r"\*", r"\w+")
    return re.compile(text.replace(r"\{", "(?:").replace(r"\}", ")").replace(",", "|"))
