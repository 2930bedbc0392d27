# frozen_string_literal: true

require 'tempfile'
require_relative 'support/http_server'
require_relative 'support/captured_log'

RSpec.describe TaskerCore::StepHandler::Mixins::API do
  let(:answers) { {} }
  let(:server) do
    HttpServer.new do |request|
      answer = answers.fetch(request.target.split('?').first, [200, { 'content-type' => 'application/json' }, '{"ok": true}'])
      answer.respond_to?(:call) ? answer.call(request) : answer
    end
  end

  after { server.close }

  def handler(**config)
    TaskerCore::StepHandler::Api.new(config: { url: server.url, **config })
  end

  def json(status, value, **headers)
    [status, { 'content-type' => 'application/json', **headers.transform_keys(&:to_s) }, JSON.generate(value)]
  end

  def request
    server.requests.last
  end

  it 'reads an answer' do
    answers['/orders'] = json(200, { items: [{ sku: 'a' }] }, 'X-Total': '1')
    response = handler.get('/orders')

    expect(response).to have_attributes(status: 200, success?: true, reason_phrase: 'Because')
    expect(response.body[:items].first['sku']).to eq('a')
    expect(response.headers['x-total']).to eq('1')
    expect(response.headers['X-Total']).to eq('1')
  end

  it 'leaves text that is no JSON as it is' do
    answers['/text'] = [200, { 'content-type' => 'text/plain; charset=utf-8' }, 'größer']
    answers['/broken'] = [200, { 'content-type' => 'application/json' }, '{"a"']
    answers['/problem'] = [200, { 'content-type' => 'application/problem+json' }, '{"a": 1}']

    expect(handler.get('/text').body).to eq('größer')
    expect(handler.get('/broken').body).to eq('{"a"')
    expect(handler.get('/problem').body).to eq('a' => 1)
  end

  it 'sends queries, headers and data' do
    client = handler(url: "#{server.url}/v1/", params: { key: 'k' }, headers: { 'X-App' => 'shop' })
    client.get('orders?sort=asc', params: { page: 2, 'q' => 'a b' }, headers: { 'X-Trace' => 't' })
    expect(request.target).to eq('/v1/orders?sort=asc&key=k&page=2&q=a+b')
    expect(request.headers).to include('x-app' => 'shop', 'x-trace' => 't')

    client.post('/orders', data: { item: 'a' })
    expect(request).to have_attributes(method: 'POST', body: '{"item":"a"}')
    expect(request.headers['content-type']).to eq('application/json')
  end

  it 'sends with every method' do
    client = handler
    expect(%i[get delete].map { |method| client.public_send(method, '/x') && request.method }).to eq(%w[GET DELETE])
    expect(%i[post put patch].map { |method| client.public_send(method, '/x', data: [1]) && [request.method, request.body] })
      .to eq([%w[POST [1]], %w[PUT [1]], %w[PATCH [1]]])
  end

  it 'sends forms and text as they are' do
    handler.post('/x', data: { a: 'b c' }, headers: { 'Content-Type' => 'application/x-www-form-urlencoded' })
    expect(request.body).to eq('a=b+c')
    handler.post('/x', data: '<a/>', headers: { 'Content-Type' => 'text/xml' })
    expect(request.body).to eq('<a/>')
    expect(request.headers['content-type']).to eq('text/xml')
  end

  it 'uses one connection for many requests, also of several threads' do
    client = handler
    5.times { client.get('/x') }
    expect(server.connections).to eq(1)

    Array.new(4) { Thread.new { 5.times { client.get('/x') } } }.each(&:join)
    expect(server.connections).to be <= 4
    expect(server.requests.size).to eq(25)
  end

  it 'opens a new connection when it is closed' do
    client = handler
    client.get('/x')
    client.connection.close
    client.get('/x')
    expect(server.connections).to eq(2)
  end

  it 'opens a new connection when the server closed the one it had' do
    answers['/once'] = json(200, {}, connection: 'close')
    client = handler
    2.times { client.get('/once') }
    expect(server.requests.size).to eq(2)
  end

  describe 'credentials' do
    {
      { type: 'bearer', token: 't' } => ['authorization', 'Bearer t'],
      { type: 'basic', username: 'u', password: 'p:w' } => ['authorization', 'Basic dTpwOnc='],
      { type: 'api_key', token: 'k' } => %w[x-api-key k],
      { type: 'api_key', token: 'k', api_key_header: 'X-Token' } => %w[x-token k]
    }.each do |auth, (name, value)|
      it "are sent as #{name}: #{value}" do
        handler(auth: auth).get('/x')
        expect(request.headers[name]).to eq(value)
      end
    end

    it 'are not sent to another server' do
      other = HttpServer.new { [200, {}, ''] }
      handler(auth: { type: 'bearer', token: 't' }).get("#{other.url}/x")
      expect(other.requests.first.headers).not_to have_key('authorization')
      expect(other.requests.first.target).to eq('/x')
    ensure
      other.close
    end
  end

  describe 'answers that are no success' do
    [400, 401, 403, 404, 405, 409, 410, 418, 422, 302].each do |status|
      it "raises a PermanentError for #{status}" do
        answers['/x'] = json(status, { error: { message: 'no such thing' } })
        expect { handler.get('/x') }.to raise_error(TaskerCore::PermanentError) { |error|
          expect(error).to have_attributes(message: "HTTP #{status}: no such thing", error_code: "HTTP_#{status}")
          expect(error.context).to include(status: status, body: { 'error' => { 'message' => 'no such thing' } })
        }
      end
    end

    [408, 429, 500, 501, 502, 503, 504].each do |status|
      it "raises a RetryableError for #{status}, which says when to try again" do
        answers['/x'] = json(status, {}, 'Retry-After': '7')
        expect { handler.get('/x') }.to raise_error(TaskerCore::RetryableError) { |error|
          expect(error).to have_attributes(message: "HTTP #{status}: Because", retry_after: 7)
        }
      end
    end

    it 'reads a Retry-After that is a date' do
      answers['/x'] = json(503, {}, 'Retry-After': (Time.now + 60).httpdate)
      expect { handler.get('/x') }.to raise_error(TaskerCore::RetryableError) { |error|
        expect(error.retry_after).to be_between(58, 61)
      }
      answers['/x'] = json(503, {}, 'Retry-After': 'soon')
      expect { handler.get('/x') }.to raise_error(an_object_having_attributes(retry_after: nil))
    end
  end

  describe 'a network that does not work' do
    it 'raises a NetworkError if nobody listens, without what the query holds' do
      port = TCPServer.open('127.0.0.1', 0) { |closed| closed.addr[1] }
      expect { handler(url: "http://127.0.0.1:#{port}").get('/x', params: { token: 'secret' }) }
        .to raise_error(TaskerCore::NetworkError) { |error|
          expect(error.message).to include("GET http://127.0.0.1:#{port}/x").and(satisfy { |text| !text.include?('secret') })
        }
    end

    it 'raises a TimeoutError if there is no answer in time' do
      answers['/x'] = ->(_request) {}
      expect { handler(timeout: 0.1).get('/x') }
        .to raise_error(TaskerCore::TimeoutError) { |error| expect(error.timeout_duration).to eq(0.1) }
      expect(server.requests.size).to eq(1)
    end

    it 'raises a NetworkError if the connection breaks, and sends nothing twice' do
      answers['/x'] = ->(_request) { raise IOError }
      expect { handler.get('/x') }.to raise_error(TaskerCore::NetworkError)
      expect(server.requests.size).to eq(1)
    end

    it 'raises a ConfigurationError without a URL' do
      expect { TaskerCore::StepHandler::Api.new.get('/x') }.to raise_error(TaskerCore::ConfigurationError, /not an HTTP URL/)
    end
  end

  describe 'results' do
    it 'are made of data' do
      expect(handler.api_success(data: { a: 1 })).to have_attributes(
        result: { 'data' => { a: 1 }, 'status' => 200, 'headers' => {} }, metadata: { api_call: true }
      )
      expect(handler.api_success(data: [1], status: 201, headers: { 'a' => 'b' }, execution_time_ms: 5, metadata: { m: 1 }))
        .to have_attributes(result: { 'data' => [1], 'status' => 201, 'headers' => { 'a' => 'b' }, 'execution_time_ms' => 5 },
                            metadata: { api_call: true, m: 1 })
    end

    it 'are made of a response, or given as a whole' do
      answers['/x'] = json(201, { id: 1 })
      expect(handler.api_success(handler.get('/x')).result).to include('data' => { 'id' => 1 }, 'status' => 201)
      expect(handler.api_success(result: { id: 1 }).result).to eq(id: 1)
      expect(handler.api_success(data: nil, status: 204).result).to eq('data' => nil, 'status' => 204, 'headers' => {})
      expect { handler.api_success }.to raise_error(ArgumentError)
    end

    {
      404 => ['PermanentError', false], 418 => ['PermanentError', false], 408 => ['RetryableError', true],
      429 => ['RetryableError', true], 500 => ['RetryableError', true], 501 => ['RetryableError', true],
      nil => ['UnexpectedError', false], 302 => ['UnexpectedError', false]
    }.each do |status, (type, retryable)|
      it "are failures of type #{type}, #{retryable ? '' : 'not '}retryable, for the status #{status.inspect}" do
        expect(handler.api_failure(message: 'no', status: status))
          .to have_attributes(message: 'no', error_type: type, retryable: retryable,
                              metadata: { api_call: true, status: status, headers: {} }.compact)
      end
    end

    it 'say when to try again' do
      result = handler.api_failure(message: 'no', status: 429, headers: { 'Retry-After' => '7' }, execution_time_ms: 3)
      expect(result.orchestration_metadata).to eq(headers: { 'retry-after' => '7' })
      expect(result.metadata).to eq(api_call: true, status: 429, headers: { 'Retry-After' => '7' }, execution_time_ms: 3)
      expect(handler.api_failure(message: 'no', status: 500).orchestration_metadata).to be_nil
    end

    it 'are failures made of a response' do
      response = TaskerCore::StepHandler::ApiResponse.new(status: 404, headers: {}, body: { 'detail' => 'gone' })
      expect(handler.api_failure(response)).to have_attributes(message: 'HTTP 404: gone', retryable: false)
    end

    it 'have a type of their own if one is given' do
      expect(handler.api_failure(message: 'no', status: 404, error_type: 'unknown_order').error_type).to eq('unknown_order')
      expect(handler.api_failure(message: 'no', error_type: 'RetryableError').retryable).to be(true)
    end

    it 'say what was being done when the network failed' do
      expect(handler.connection_error(IOError.new('reset'), 'fetching order'))
        .to have_attributes(message: 'Connection error while fetching order: reset', error_type: 'connection_error', retryable: true)
      expect(handler.timeout_error(IOError.new('slow')))
        .to have_attributes(message: 'Request timeout: slow', error_type: 'TimeoutError', retryable: true)
    end
  end

  describe 'lists of many pages' do
    include_context 'with a captured log'

    before do
      answers['/items'] = lambda do |got|
        query = URI.decode_www_form(URI(got.target).query).to_h
        start = query['cursor'].to_i
        following = start + 2 < 5 ? start + 2 : nil
        json(200, { data: (start...[start + 2, 5].min).to_a, next_cursor: following, limit: query['limit'] })
      end
    end

    it 'are fetched whole' do
      pages = []
      expect(handler(pagination: { page_size: 2 }).api_paginated_request('/items') { |page, _| pages << page }).to eq([0, 1, 2, 3, 4])
      expect(pages).to eq([[0, 1], [2, 3], [4]])
      expect(server.requests.map(&:target)).to eq(['/items?limit=2', '/items?limit=2&cursor=2', '/items?limit=2&cursor=4'])
    end

    it 'end at the most pages, with a warning' do
      expect(handler.api_paginated_request('/items', max_pages: 2)).to eq([0, 1, 2, 3])
      expect(log).to include('/items has more than 2 pages')
    end

    it 'end where the same cursor comes again' do
      answers['/items'] = json(200, { items: [1], cursor: 'same' })
      expect(handler.api_paginated_request('/items')).to eq([1, 1])
      expect(server.requests.size).to eq(2)
    end

    it 'may be the body itself, or sent for with data' do
      answers['/items'] = json(200, [1, 2])
      expect(handler.api_paginated_request('/items', method: :post)).to eq([1, 2])
      expect(request.body).to eq('{"limit":100}')
    end
  end

  it 'uploads files' do
    Tempfile.create('upload') do |file|
      file.write("a\u0000b")
      file.flush
      handler.api_upload_file('/files', file.path, data: { title: 'größe' }, content_type: 'text/csv')

      boundary = request.headers['content-type'][/boundary=(.+)/, 1]
      expect(request.body.force_encoding('UTF-8')).to eq(
        "--#{boundary}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\ngröße\r\n" \
        "--#{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"#{File.basename(file.path)}\"\r\n" \
        "Content-Type: text/csv\r\n\r\na\u0000b\r\n--#{boundary}--\r\n"
      )
    end
  end

  describe 'TLS' do
    let(:key) { OpenSSL::PKey::RSA.new(2048) }
    let(:certificate) do
      OpenSSL::X509::Certificate.new.tap do |made|
        made.version = 2
        made.serial = 1
        made.subject = made.issuer = OpenSSL::X509::Name.parse('/CN=127.0.0.1')
        made.public_key = key.public_key
        made.not_before = Time.now - 60
        made.not_after = Time.now + 3600
        made.add_extension(OpenSSL::X509::ExtensionFactory.new.create_extension('subjectAltName', 'IP:127.0.0.1'))
        made.sign(key, OpenSSL::Digest.new('SHA256'))
      end
    end
    let(:server) { HttpServer.new(key: key, certificate: certificate) { [200, {}, 'safe'] } }

    it 'does not trust just anybody' do
      expect { handler.get('/x') }.to raise_error(TaskerCore::NetworkError, /certificate verify failed/)
      expect(server.requests).to be_empty
    end

    it 'trusts a given authority, or anybody if told so' do
      Tempfile.create('authority') do |file|
        file.write(certificate.to_pem)
        file.flush
        expect(handler(ssl: { ca_file: file.path }).get('/x').body).to eq('safe')
      end
      expect(handler(ssl: { verify: false }).get('/x').body).to eq('safe')
    end
  end

  it 'has a connection that can be used by itself' do
    connection = handler.connection
    connection.get('/a', { page: 1 }, { 'X-Own' => '1' })
    expect(request).to have_attributes(method: 'GET', target: '/a?page=1', headers: a_hash_including('x-own' => '1'))
    expect(connection.post('/a', 'text').status).to eq(200)
    expect(request).to have_attributes(body: 'text', headers: a_hash_including('content-type' => 'application/octet-stream'))
  end

  it 'lets the connection be changed' do
    client = handler
    client.configure_connection { |connection| connection.headers['X-Mine'] = '1' }
    client.get('/x')
    expect(request.headers['x-mine']).to eq('1')
  end

  it 'tells what it can do' do
    expect(handler.capabilities).to eq(%w[process http_client error_classification retry_headers faraday_connection])
  end

  describe 'with Faraday' do
    # As much of Faraday as is used.
    let(:faraday) do
      Module.new do
        const_set(:Error, Class.new(StandardError))
        const_set(:TimeoutError, Class.new(self::Error))
        const_set(:ConnectionFailed, Class.new(self::Error))
        singleton_class.attr_accessor :made, :answer
        def self.new(**options)
          self.made = options
          self
        end

        def self.run_request(method, path, body, headers)
          request = Struct.new(:params).new({})
          yield request
          answer.call(method, path, body, headers, request.params)
        end
      end
    end
    let(:raw) { Struct.new(:status, :headers, :body, :reason_phrase) }

    before { stub_const('Faraday', faraday) }

    it 'sends with it' do
      faraday.answer = ->(*sent) { raw.new(200, { 'content-type' => 'application/json' }, JSON.generate(sent), 'OK') }
      client = handler(url: 'https://x', timeout: 3, auth: { type: 'bearer', token: 't' }, ssl: { verify: false })

      expect(client.post('/a', data: { b: 1 }).body).to eq(['post', 'a', '{"b":1}', { 'Content-Type' => 'application/json' }, {}])
      expect(client.get('/a', params: { c: 2 }).body).to eq(['get', 'a', nil, {}, { 'c' => 2 }])
      expect(faraday.made).to eq(url: 'https://x', headers: { 'Authorization' => 'Bearer t' }, params: {},
                                 ssl: { verify: false }, request: { timeout: 3, open_timeout: 10 })
    end

    it 'has the same errors' do
      faraday.answer = ->(*) { raw.new(503, { 'Retry-After' => '4' }, '', 'Away') }
      expect { handler.get('/a') }.to raise_error(TaskerCore::RetryableError) { |error| expect(error.retry_after).to eq(4) }
      faraday.answer = ->(*) { raise Faraday::TimeoutError, 'slow' }
      expect { handler.get('/a') }.to raise_error(TaskerCore::TimeoutError, 'slow')
      faraday.answer = ->(*) { raise Faraday::ConnectionFailed, 'reset' }
      expect { handler.get('/a') }.to raise_error(TaskerCore::NetworkError, 'reset')
    end
  end
end
