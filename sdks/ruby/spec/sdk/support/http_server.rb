# frozen_string_literal: true

require 'openssl'
require 'socket'

# A real HTTP server on a free port: answers every request with what its block makes of it.
class HttpServer
  Request = Struct.new(:method, :target, :headers, :body)

  attr_reader :requests, :connections

  # The block gets a request and returns [status, headers, body]; nil leaves it without an answer. With a key and a
  # certificate it speaks TLS.
  def initialize(key: nil, certificate: nil, &answer)
    @answer = answer
    @requests = []
    @connections = 0
    @server = TCPServer.new('127.0.0.1', 0)
    @scheme = 'http'
    use_tls(key, certificate) if key
    @threads = [Thread.new { accept }]
  end

  def url
    "#{@scheme}://127.0.0.1:#{@server.addr[1]}"
  end

  def close
    @server.close
    @threads.each(&:kill)
  end

  private

  def use_tls(key, certificate)
    context = OpenSSL::SSL::SSLContext.new
    context.key = key
    context.cert = certificate
    @server = OpenSSL::SSL::SSLServer.new(@server, context)
    @scheme = 'https'
  end

  def accept
    loop do
      socket = accept_one or next
      @connections += 1
      @threads << Thread.new { serve(socket) }
    end
  rescue IOError, Errno::EBADF
    nil
  end

  def accept_one
    @server.accept
  rescue OpenSSL::SSL::SSLError
    nil
  end

  def serve(socket)
    while (request = read(socket))
      @requests << request
      answer = @answer.call(request)
      # Whoever waits for an answer waits in vain, until it hangs up.
      answer ? write(socket, *answer) : socket.read(1)
    end
  rescue SystemCallError, IOError
    nil
  ensure
    socket.close
  end

  def read(socket)
    line = socket.gets or return nil
    method, target = line.split
    headers = {}
    while (line = socket.gets.chomp) != ''
      name, value = line.split(': ', 2)
      headers[name.downcase] = value
    end
    Request.new(method, target, headers, socket.read(headers['content-length'].to_i))
  end

  def write(socket, status, headers, body)
    lines = headers.merge('content-length' => body.bytesize).map { |name, value| "#{name}: #{value}\r\n" }
    socket.write("HTTP/1.1 #{status} Because\r\n#{lines.join}\r\n#{body}")
  end
end
