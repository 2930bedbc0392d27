# frozen_string_literal: true

RSpec.describe TaskerCore::Types::IndifferentHash do
  subject(:cart) { described_class.new({ 'total' => 5, items: [{ 'sku' => 'a', tags: { 'x' => 1 } }], 'none' => nil }) }

  it 'is read with Strings and Symbols' do
    expect(cart['total']).to eq(5)
    expect(cart[:total]).to eq(5)
    expect(cart.fetch(:total)).to eq(5)
    expect(cart.fetch('absent', 7)).to eq(7)
    expect(cart.fetch(:absent) { |key| "no #{key}" }).to eq('no absent')
    expect { cart.fetch(:absent) }.to raise_error(KeyError)
    expect(cart.key?(:items) && cart.include?('items') && cart.has_key?(:none)).to be(true)
    expect(cart.values_at(:total, 'none')).to eq([5, nil])
    expect(cart.fetch_values(:total)).to eq([5])
  end

  it 'is so at every depth, in lists, too' do
    expect(cart[:items].first[:sku]).to eq('a')
    expect(cart.dig('items', 0, :tags, 'x')).to eq(1)
    expect(cart.dig(:items, 0, 'nope', 'x')).to be_nil
  end

  it 'is written with Strings and Symbols' do
    cart[:total] = 6
    cart['new'] = { a: { b: 1 } }
    expect(cart['total']).to eq(6)
    expect(cart.dig(:new, 'a', :b)).to eq(1)
    expect(cart.delete(:total)).to eq(6)
    expect(cart).not_to have_key('total')
  end

  it 'stays so when it is merged, sliced and copied' do
    expect(cart.merge({ total: 7, more: { x: 1 } })).to be_a(described_class).and include('total' => 7)
    expect(cart.merge({ more: { x: 1 } })['more']['x']).to eq(1)
    expect(cart.slice(:total, 'none')).to eq('total' => 5, 'none' => nil)
    expect(cart.slice(:total)[:total]).to eq(5)
    expect(cart.except(:items, 'none')).to eq('total' => 5)
    expect(cart.select { |key, _| key == 'total' }[:total]).to eq(5)
    expect(cart.reject { |key, _| key == 'items' }[:total]).to eq(5)
    expect(cart.compact[:total]).to eq(5)
    expect(cart.compact).not_to have_key(:none)
    expect(cart.slice(:total).transform_values(&:to_s)[:total]).to eq('5')
    expect(cart.select).to be_a(Enumerator)
    copy = cart.dup
    copy[:total] = 9
    expect(cart[:total]).to eq(5)
  end

  it 'is equal to a Hash with String keys' do
    expect(described_class.new({ a: { b: 1 } })).to eq('a' => { 'b' => 1 })
  end

  it 'becomes an ordinary Hash, at every depth' do
    plain = cart.to_h
    expect(plain).to be_instance_of(Hash)
    expect(plain['items'].first).to be_instance_of(Hash)
    expect(plain.transform_keys(&:to_sym)[:total]).to eq(5)
    expect(described_class.new({ a: 1 }).to_h { |key, value| [key.to_sym, value + 1] }).to eq(a: 2)
  end

  it 'can be matched with patterns' do
    case cart
    in { total: Integer => total, items: [{ sku: }] }
      expect([total, sku]).to eq([5, 'a'])
    end
  end

  it 'is written as JSON' do
    expect(JSON.parse(JSON.generate(cart))).to eq(cart.to_h)
  end
end
