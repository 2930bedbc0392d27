# frozen_string_literal: true

require 'open3'
require 'openssl'
require 'spec_helper'
require 'tmpdir'
require_relative 'support/worker_helpers'

RSpec.describe TaskerCore::Client::Connection, :worker do
  subject(:connection) { described_class.new(server.url, 'X-Mine' => '1') }

  it 'stays open between requests' do
    2.times { server.script('GET /a', 200, { ok: true }) }
    2.times { expect(connection.request(:get, '/a')).to have_attributes(status: 200, body: '{"ok":true}') }
    expect(server.calls.map { |call| call.connection.object_id }.uniq.size).to eq(1)
    expect(server.calls.first.headers).to include('x-mine' => '1', 'accept' => 'application/json')
  end

  it 'is opened again, once, if the server has closed it' do
    server.script('GET /a', 200, {})
    connection.request(:get, '/a')
    server.script('GET /a') { [:hang_up] }
    server.script('GET /a', 200, { second: true })
    expect(connection.request(:get, '/a').body).to include('second')
    2.times { server.script('GET /a') { [:hang_up] } }
    expect { connection.request(:get, '/a') }.to raise_error(described_class::FailedError) do |error|
      expect(error.unsent).to be(false)
    end
  end

  it 'sends nothing a second time that may not be carried out twice' do
    server.script('GET /a', 200, {})
    connection.request(:get, '/a')
    server.script('POST /a') { [:hang_up] }
    expect { connection.request(:post, '/a', body: '{}', repeatable: false) }.to raise_error(described_class::FailedError)
    expect(server.calls.size).to eq(2)
  end

  it 'fails when the answer takes too long' do
    held = Thread::Queue.new
    server.script('GET /a') { held.pop && [200, {}] }
    expect { connection.request(:get, '/a', timeout: 0.2) }.to raise_error(described_class::FailedError, /no answer/)
    held << true
  end

  it 'may be interrupted by another thread' do
    held = Thread::Queue.new
    server.script('GET /a') { held.pop && [200, {}] }
    waiting = Thread.new do
      connection.request(:get, '/a', timeout: 20)
    rescue described_class::InterruptedError
      :interrupted
    end
    server.wait_for_call('GET /a')
    connection.interrupt
    expect(waiting.value).to eq(:interrupted)
    expect { connection.request(:get, '/a') }.to raise_error(described_class::InterruptedError)
    connection.arm
    server.script('GET /a', 200, {})
    expect(connection.request(:get, '/a').status).to eq(200)
    held << true
  end

  it 'goes to paths below that of the base URL' do
    server.script('GET /prefix/a', 200, {})
    expect(described_class.new("#{server.url}/prefix/").request(:get, '/a').status).to eq(200)
  end

  describe 'over TLS' do
    let(:key) { OpenSSL::PKey::RSA.new(2048) }

    let(:certificate) do
      name = OpenSSL::X509::Name.parse('/CN=localhost')
      OpenSSL::X509::Certificate.new.tap do |made|
        made.version = 2
        made.serial = 1
        made.subject = made.issuer = name
        made.public_key = key.public_key
        made.not_before = Time.now - 60
        made.not_after = Time.now + 3600
        extensions = OpenSSL::X509::ExtensionFactory.new(made, made)
        made.add_extension(extensions.create_extension('subjectAltName', 'DNS:localhost'))
        made.sign(key, OpenSSL::Digest.new('SHA256'))
      end
    end

    # Answers one request with {}.
    def tls_server
      context = OpenSSL::SSL::SSLContext.new
      context.cert = certificate
      context.key = key
      listener = OpenSSL::SSL::SSLServer.new(TCPServer.new('localhost', 0), context)
      thread = Thread.new do
        socket = listener.accept
        nil until socket.gets == "\r\n"
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
      rescue OpenSSL::SSL::SSLError
        nil # the client does not trust us
      end
      yield "https://localhost:#{listener.addr[1]}"
    ensure
      thread.join
      listener.close
    end

    # OpenSSL reads what the system trusts when it is loaded, so that takes a process of its own.
    it 'trusts the certificates that the system trusts' do
      script = "require 'tasker_core'; print TaskerCore::Client::Connection.new(ARGV[0]).request(:get, '/a').status"
      command = [RbConfig.ruby, '-I', File.expand_path('../../lib', __dir__), '-e', script]
      Dir.mktmpdir do |directory|
        file = File.join(directory, 'ca.pem')
        File.write(file, certificate.to_pem)
        tls_server { |url| expect(Open3.capture2({ 'SSL_CERT_FILE' => file }, *command, url).first).to eq('200') }
      end
    end

    it 'trusts no other' do
      tls_server do |url|
        expect { described_class.new(url).request(:get, '/a') }.to raise_error(described_class::FailedError, /certificate/)
      end
    end
  end
end
